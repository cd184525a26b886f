"""Trains networks for action recognition on few labeled and many unlabeled videos."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmpl.config import Config, NetworkConfig
    from cmpl.methods.method import Method, Terms
    from cmpl.methods.settings import MethodSettings
    from cmpl.models.backbone import AdaptedBackbone, Backbone
    from cmpl.predict import predict_videos
    from cmpl.prediction import Prediction
    from cmpl.registries import register_backbone, register_method
    from cmpl.run import Run, load_run, train

_HOMES = {
    "AdaptedBackbone": "cmpl.models.backbone",
    "Backbone": "cmpl.models.backbone",
    "Config": "cmpl.config",
    "Method": "cmpl.methods.method",
    "MethodSettings": "cmpl.methods.settings",
    "NetworkConfig": "cmpl.config",
    "Prediction": "cmpl.prediction",
    "Run": "cmpl.run",
    "Terms": "cmpl.methods.method",
    "load_run": "cmpl.run",
    "predict_videos": "cmpl.predict",
    "register_backbone": "cmpl.registries",
    "register_method": "cmpl.registries",
    "train": "cmpl.run",
}
"""Public name -> its module, imported when the name is first asked for: workers and --help stay light."""

__all__ = [
    "AdaptedBackbone",
    "Backbone",
    "Config",
    "Method",
    "MethodSettings",
    "NetworkConfig",
    "Prediction",
    "Run",
    "Terms",
    "__version__",
    "load_run",
    "predict_videos",
    "register_backbone",
    "register_method",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("cmpl")
    if name not in _HOMES:
        raise AttributeError(f"module 'cmpl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
