"""Plug-ins that a test registers are gone after it."""

import os
import sys
from collections.abc import Iterator

import pytest

from cmpl.registries import BACKBONES, METHODS
from pipelines.datasets.registry import DATASETS_REGISTRY
from pipelines.registry import PLUGINS_VARIABLE, Registry

REGISTRIES: tuple[Registry, ...] = (METHODS, BACKBONES, DATASETS_REGISTRY)


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No plug-in is in use before the test, and none of its own after it."""
    monkeypatch.delenv(PLUGINS_VARIABLE, raising=False)
    modules, path = set(sys.modules), list(sys.path)
    registered = [dict(registry._registered) for registry in REGISTRIES]
    yield
    for registry, before in zip(REGISTRIES, registered, strict=True):
        registry._registered.clear()
        registry._registered.update(before)
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(("/tmp", str(os.environ.get("TMPDIR")))):
            del sys.modules[name]
    sys.path[:] = path
    os.environ.pop(PLUGINS_VARIABLE, None)
