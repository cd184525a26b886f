"""Trains networks for action recognition on few labeled and many unlabeled videos."""

import importlib
from typing import Any

_HOMES = {"Config": "cmpl.config", "Run": "cmpl.run", "load_run": "cmpl.run", "train": "cmpl.run"}
"""Public name -> its module, imported when the name is first asked for: workers and --help stay light."""

__all__ = ["Config", "Run", "__version__", "load_run", "train"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("cmpl")
    if name not in _HOMES:
        raise AttributeError(f"module 'cmpl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
