"""Video clips for semi-supervised training, decoded once a video and step. The public names, imported when asked for.

Workers import this package: it must stay light.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.batch import SemiBatch
    from pipelines.catalog.dataset import Dataset, open_dataset
    from pipelines.datasets.registry import register_dataset
    from pipelines.errors import InputError
    from pipelines.loading.clip_stream import ClipStream
    from pipelines.loading.loader import EvaluationLoader, SemiLoader
    from pipelines.plan.geometry import ClipShape, Geometry
    from pipelines.plan.operations import register_operation
    from pipelines.plan.rand_augment import StrongSpec
    from pipelines.registry import use_plugins

_PUBLIC = {
    "open_dataset": "pipelines.catalog.dataset",
    "Dataset": "pipelines.catalog.dataset",
    "SemiLoader": "pipelines.loading.loader",
    "EvaluationLoader": "pipelines.loading.loader",
    "ClipStream": "pipelines.loading.clip_stream",
    "Geometry": "pipelines.plan.geometry",
    "ClipShape": "pipelines.plan.geometry",
    "StrongSpec": "pipelines.plan.rand_augment",
    "SemiBatch": "pipelines.batch",
    "InputError": "pipelines.errors",
    "register_dataset": "pipelines.datasets.registry",
    "register_operation": "pipelines.plan.operations",
    "use_plugins": "pipelines.registry",
}
"""Name -> the module that defines it."""

__all__ = [
    "ClipShape",
    "ClipStream",
    "Dataset",
    "EvaluationLoader",
    "Geometry",
    "InputError",
    "SemiBatch",
    "SemiLoader",
    "StrongSpec",
    "open_dataset",
    "register_dataset",
    "register_operation",
    "use_plugins",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
