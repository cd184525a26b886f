"""Methods and backbones by name: built in, of a plug-in, or `module:attribute`.

Torch is imported when one is used, not before.
"""

from typing import TYPE_CHECKING, Any

from cmpl.methods.settings import MethodSettings
from pipelines.errors import InputError
from pipelines.registry import Registry

if TYPE_CHECKING:
    from cmpl.methods.method import Method
    from cmpl.models.backbone import BackboneBuilder

METHODS: "Registry[type[Method]]" = Registry(
    "method",
    group="cmpl.methods",
    built_in={
        "supervised": "cmpl.methods.supervised:Supervised",
        "s4l": "cmpl.methods.rotation:S4L",
        "fixmatch": "cmpl.methods.fixmatch:FixMatch",
        "videossl": "cmpl.methods.videossl:VideoSSL",
        "tcl": "cmpl.methods.tcl:TCL",
        "mvpl": "cmpl.methods.mvpl:MvPL",
        "cmpl": "cmpl.methods.cross_model:CrossModel",
    },
)
register_method = METHODS.register

BACKBONES: "Registry[BackboneBuilder]" = Registry(
    "backbone",
    group="cmpl.backbones",
    built_in={
        "resnet3d": "cmpl.models.resnet3d:build",
        "slowfast": "cmpl.models.slowfast:build",
        "tsm": "cmpl.models.tsm:build",
    },
)
register_backbone = BACKBONES.register


def method_class(name: str) -> "type[Method]":
    """The class of a method's name, or of `module:class`. Raises InputError for what is none."""
    from cmpl.methods.method import Method

    kind = METHODS.get(name, field="method.name")
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise InputError(f"method.name: received {name!r}, which is no method; accepted: a subclass of Method")
    if not (isinstance(kind.Settings, type) and issubclass(kind.Settings, MethodSettings)):
        raise InputError(f"method.name: received {name!r}, without Settings of its kind; accepted: a MethodSettings")
    return kind


def method_settings(name: str, **values: Any) -> MethodSettings:
    """The `method` section of a configuration: a method's settings, those not given at their defaults.

    Raises InputError for an unknown name.
    """
    return method_class(name).Settings(name=name, **values)


def switched(settings: MethodSettings, name: str) -> MethodSettings:
    """Another method's settings; fields of the same names keep their values. Raises InputError for an unknown name."""
    return method_settings(name).taking(vars(settings) | {"name": name})
