"""RandAugment's operations by name: what a magnitude means, and which functions change the pixels.

An operation of the strong view is geometric (an affine map) or photometric (pixels of a clip). Functions are named by
`module:function` and imported where they are called, so that a plan needs no pixels and a worker no DALI.

Legend: T frames, S crop side. A magnitude is signed, a share of the largest: -1 to 1.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from pipelines.errors import InputError
from pipelines.registry import Registry, imported

Affine = tuple[float, float, float, float, float, float]
"""Row-major 2x3 map of a pixel position (x right, y down)."""

IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

NumpyFunction = Callable[[np.ndarray, float], np.ndarray]
"""(clip (T, S, S, 3) uint8, value) -> a clip of the same shape and type; it may change the clip in place."""
DaliFunction = Callable[..., Any]
"""`f(clip, value, shape=(T, S, S, 3))` of DALI's nodes (T, S, S, 3) uint8 and () float -> the same kind of clip."""


@dataclass(frozen=True, kw_only=True)
class Geometric:
    """An operation that moves pixels; those of a clip are composed into one map."""

    affine: Callable[[float, int], Affine]
    """(magnitude, S) -> the map from a pixel of the result to the one that it shows."""


@dataclass(frozen=True, kw_only=True)
class Photometric:
    """An operation that changes the values of pixels, with one value a clip."""

    numpy: NumpyFunction | str
    dali: DaliFunction | str | None = None
    """None: the operation is for views that CPUs make; a graph on a GPU refuses it."""
    value: Callable[[float], float] = float
    """Magnitude -> the value of the plan that the functions take; by default the magnitude itself."""

    def numpy_function(self) -> NumpyFunction:
        """The function on arrays."""
        return _function(self.numpy)

    def dali_function(self) -> DaliFunction | None:
        """The function on DALI's nodes, or None. Imports DALI."""
        return None if self.dali is None else _function(self.dali)


Operation = Geometric | Photometric


@functools.cache
def _function(function: Callable[..., Any] | str) -> Callable[..., Any]:
    return cast(Callable[..., Any], imported(function, field="operation")) if isinstance(function, str) else function


def about_center(affine: Affine, *, size: int) -> Affine:
    """The same map with the center of a `size` x `size` crop as its origin."""
    a, b, x, c, d, y = affine
    half = size / 2
    return (a, b, x + half - (a + b) * half, c, d, y + half - (c + d) * half)


def _rotate(magnitude: float, size: int) -> Affine:
    cos, sin = math.cos(math.radians(30 * magnitude)), math.sin(math.radians(30 * magnitude))
    return about_center((cos, -sin, 0.0, sin, cos, 0.0), size=size)


def _pixels(name: str, value: Callable[[float], float]) -> Photometric:
    """A built-in operation: functions of one name here and in DALI's graph."""
    return Photometric(
        numpy=f"pipelines.views.numpy_ops:{name}", dali=f"pipelines.loading.operators:{name}", value=value
    )


def _blend(magnitude: float) -> float:
    return 1 + 0.9 * magnitude


def _nothing(magnitude: float) -> float:
    return 0.0


identity = Geometric(affine=lambda magnitude, size: IDENTITY)
rotate = Geometric(affine=_rotate)
"""By up to 30 degrees about the center; shears and translations by up to 0.3 (FixMatch's ranges)."""
shear_x = Geometric(affine=lambda m, size: about_center((1.0, 0.3 * m, 0.0, 0.0, 1.0, 0.0), size=size))
shear_y = Geometric(affine=lambda m, size: about_center((1.0, 0.0, 0.0, 0.3 * m, 1.0, 0.0), size=size))
translate_x = Geometric(affine=lambda m, size: (1.0, 0.0, 0.3 * m * size, 0.0, 1.0, 0.0))
translate_y = Geometric(affine=lambda m, size: (1.0, 0.0, 0.0, 0.0, 1.0, 0.3 * m * size))
autocontrast = _pixels("autocontrast", _nothing)
brightness = _pixels("brightness", _blend)
"""A factor of 0.1 to 1.9, as for color, contrast and sharpness: 1 leaves the clip as it is."""
color = _pixels("color", _blend)
contrast = _pixels("contrast", _blend)
equalize = _pixels("equalize", _nothing)
posterize = _pixels("posterize", lambda magnitude: 256.0 - 2 ** round(4 * abs(magnitude)))
"""A mask of the bits kept: 255 (eight bits) to 240 (four)."""
sharpness = _pixels("sharpness", _blend)
solarize = _pixels("solarize", lambda magnitude: 256.0 - round(256 * abs(magnitude)))
"""The first value inverted: 256 to 0."""

_NAMES = (
    "identity", "rotate", "shear_x", "shear_y", "translate_x", "translate_y",
    "autocontrast", "brightness", "color", "contrast", "equalize", "posterize", "sharpness", "solarize",
)  # fmt: skip
OPERATIONS: Registry[Operation] = Registry(
    "operation", group="cmpl.operations", built_in={name: f"pipelines.plan.operations:{name}" for name in _NAMES}
)
RAND_AUGMENT_OPS = OPERATIONS.built_in
"""The 14 operations of RandAugment as FixMatch uses them. Their order is part of every plan."""


def register_operation(
    name: str, *, dali: DaliFunction | str | None = None
) -> Callable[[NumpyFunction], NumpyFunction]:
    """Decorator: makes a function (clip, magnitude) -> clip an operation of the strong view, under `name`.

    The clip is (T, S, S, 3) uint8, the magnitude -1 to 1. dali: the same on a GPU (see DaliFunction), or its
    `module:function`. Raises InputError where the name is taken.
    """

    def add(function: NumpyFunction) -> NumpyFunction:
        OPERATIONS.register(name)(Photometric(numpy=function, dali=dali))
        return function

    return add


def operation(name: str) -> Operation:
    """The operation of a name. Raises InputError for an unknown one, naming the nearest."""
    found = OPERATIONS.get(name, field="strong ops")
    if not isinstance(found, Operation):
        raise InputError(
            f"strong ops: received {name!r}, which is {type(found).__name__}; accepted: Photometric or Geometric"
        )
    return found
