"""Names that stand for code: built in, registered by a plug-in, installed as an entry point, or `module:attribute`.

Every kind of plug-in (methods, backbones, data sets, RandAugment operations) is one `Registry`. Built-in objects are
named by `module:attribute` and imported when they are asked for, so that names are known without torch.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar, cast

from pipelines.errors import InputError, nearest

T = TypeVar("T")

PLUGINS_VARIABLE = "CMPL_PLUGINS"
"""Environment variable: plug-in modules, separated by colons. Workers and ranks inherit it."""


class Registry(Generic[T]):
    """The objects of one kind by name.

    kind: what an object is, for messages ("method"). group: entry points that add to it ("cmpl.methods").
    """

    def __init__(self, kind: str, *, group: str, built_in: Mapping[str, str]) -> None:
        self.kind, self.group = kind, group
        self._built_in = dict(built_in)
        self._registered: dict[str, T] = {}
        self._imported: dict[str, T] = {}  # built-in ones that were asked for

    @property
    def built_in(self) -> tuple[str, ...]:
        """The names that come with the package."""
        return tuple(self._built_in)

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: makes an object known under `name`. Raises InputError where another object has it."""

        def add(value: T) -> T:
            taken = self._registered.get(name)
            same = taken is not None and _origin(taken) == _origin(value)  # a module that is imported twice
            if name in self._built_in or ":" in name or not name or (taken is not None and not same):
                raise InputError(
                    f"{self.kind}: received the name {name!r}; accepted: one that is free, without a colon"
                )
            self._registered[name] = value
            return value

        return add

    def names(self) -> tuple[str, ...]:
        """All names, built-in ones first."""
        load_plugins()
        installed = (entry.name for entry in importlib.metadata.entry_points(group=self.group))
        return tuple(dict.fromkeys((*self._built_in, *self._registered, *installed)))

    def get(self, name: str, *, field: str) -> T:
        """The object of a name, or of `module:attribute`.

        Raises InputError, beginning with `field`, for an unknown name (naming the nearest) or what cannot be imported.
        """
        if name in self._imported:
            return self._imported[name]
        if name in self._built_in:
            return self._imported.setdefault(name, cast(T, imported(self._built_in[name], field=field)))
        if name not in self._registered:
            load_plugins()
        if name in self._registered:
            return self._registered[name]
        if ":" in name:
            return cast(T, imported(name, field=field))
        for entry in importlib.metadata.entry_points(group=self.group, name=name):
            return cast(T, imported(entry.value, field=field))
        raise InputError(f"{field}: received {name!r}{nearest(name, self.names())}")


def _origin(value: object) -> tuple[object, object]:
    return getattr(value, "__module__", None), getattr(value, "__qualname__", id(value))


def imported(reference: str, *, field: str) -> object:
    """The object that `module:attribute` names. Raises InputError where it cannot be imported."""
    module, _, attribute = reference.partition(":")
    value: object = _module(module, field=field)
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise InputError(f"{field}: received {reference!r}; {module} has no {part!r}{nearest(part, dir(value))}")
        value = getattr(value, part)
    return value


def use_plugins(modules: tuple[str, ...]) -> None:
    """Imports plug-in modules here and in every process started from now on.

    A module is a dotted name, also one in the current folder, or the path of a .py file. Raises InputError.
    """
    known = list(plugins_in_use())
    for module in modules:
        module = os.path.abspath(module) if module.endswith(".py") else module
        if module not in known:
            known.append(module)
    if known:
        os.environ[PLUGINS_VARIABLE] = os.pathsep.join(known)
    load_plugins()


def plugins_in_use() -> tuple[str, ...]:
    """The plug-in modules that this process and those it starts import, .py files by their absolute path."""
    return tuple(name for name in os.environ.get(PLUGINS_VARIABLE, "").split(os.pathsep) if name)


def load_plugins() -> None:
    """Imports the modules that CMPL_PLUGINS names. Raises InputError where one cannot be imported."""
    for module in plugins_in_use():
        _module(module, field="--plugin")


def _module(name: str, *, field: str) -> object:
    if not name.endswith(".py"):
        _current_folder_importable()
    try:
        return _module_of_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{field}: received {name!r}, which cannot be imported ({type(error).__name__}: {error}); accepted: a "
            "module that Python finds from here, or the path of a .py file"
        ) from error


def _module_of_file(path: Path) -> object:
    """The module of a .py file, under the file's own name."""
    if path.stem in sys.modules:
        loaded = sys.modules[path.stem]
        if getattr(loaded, "__file__", None) and Path(cast(str, loaded.__file__)).resolve() == path.resolve():
            return loaded
        raise ImportError(f"another module is named {path.stem!r} already")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _current_folder_importable() -> None:
    """`cmpl` is a script: unlike `python -m`, it does not find modules of the current folder by itself."""
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)
