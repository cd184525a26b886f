"""Registries as they were: plug-ins that a test registers are gone after it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmpl.registries import BACKBONES, METHODS
from pipelines.datasets.registry import DATASETS_REGISTRY
from pipelines.plan.operations import OPERATIONS
from pipelines.registry import PLUGINS_VARIABLE, Registry

REGISTRIES: tuple[Registry, ...] = (METHODS, BACKBONES, DATASETS_REGISTRY, OPERATIONS)


@contextmanager
def plugins_undone(folder: Path) -> Iterator[None]:
    """Forgets, at the end, what was registered meanwhile and the modules that lie under `folder`."""
    path, registered = list(sys.path), [dict(registry._registered) for registry in REGISTRIES]
    try:
        yield
    finally:
        for registry, before in zip(REGISTRIES, registered, strict=True):
            registry._registered.clear()
            registry._registered.update(before)
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
                del sys.modules[name]
        sys.path[:] = path
        os.environ.pop(PLUGINS_VARIABLE, None)
