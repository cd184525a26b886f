"""The strong view (Sec. 3.3): RandAugment's operations with their parameters, then Cutout, as values of a plan.

Geometric operations of a clip are composed into one affine map, applied once; the others follow in the order
drawn. All parameters are constant over the frames of a clip, and statistics (the mean of `contrast`, the range of
`autocontrast`, the histogram of `equalize`) are those of the whole clip, so that a clip never flickers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import InputError, nearest

FILL = 115
"""Grey of what a warp or Cutout uncovers: 0.45 of 255, the mean that normalisation maps to zero."""

GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
PHOTOMETRIC = (
    "autocontrast",
    "brightness",
    "color",
    "contrast",
    "equalize",
    "posterize",
    "sharpness",
    "solarize",
)
RAND_AUGMENT_OPS = ("identity", *GEOMETRIC, *PHOTOMETRIC)
"""The 14 operations of RandAugment as FixMatch uses them."""

MAX_LEVEL = 10

Affine = tuple[float, float, float, float, float, float]
"""Row-major 2x3 map of a pixel position (x right, y down)."""

IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class StrongSpec:
    """RandAugment with `num_ops` operations (n) of level 1 to `magnitude` (m, out of 10), then Cutout."""

    ops: tuple[str, ...] = RAND_AUGMENT_OPS
    num_ops: int = 2
    magnitude: float = 10.0
    cutout_fraction: float = 0.5
    """Largest side of the Cutout square, as a share of the crop's side."""

    def __post_init__(self) -> None:
        for op in self.ops:
            if op not in RAND_AUGMENT_OPS:
                raise InputError(f"strong ops: received {op!r}{nearest(op, RAND_AUGMENT_OPS)}")
        if not self.ops or self.num_ops < 0:
            raise InputError(f"strong ops: received {self.num_ops} of {self.ops}; accepted: 0 or more of at least one")
        if not 1 <= self.magnitude <= MAX_LEVEL:
            raise InputError(f"magnitude: received {self.magnitude}; accepted: 1 to {MAX_LEVEL}")
        if not 0 <= self.cutout_fraction <= 1:
            raise InputError(f"cutout_fraction: received {self.cutout_fraction}; accepted: 0 to 1")


@dataclass(frozen=True)
class Strong:
    """One strong view's parameters."""

    inverse_affine: Affine
    """Maps a pixel of the result to the pixel that it shows."""
    photometric: tuple[tuple[str, float], ...]
    """(operation, value) in the order of application; the value's meaning is told by `photometric_value`."""
    cutout: tuple[int, int, int, int]
    """y, x, height, width in pixels; 0 x 0 where there is none."""
    num_ops: int
    """Operations drawn, identity and geometric ones included."""


def affine_of(op: str, *, level: float, sign: int, size: int) -> Affine:
    """Inverse map of one geometric operation about the centre of a `size` x `size` crop.

    At level 10: rotation by 30 degrees, shear by 0.3, translation by 0.3 of the side (FixMatch's ranges).
    """
    amount = sign * level / MAX_LEVEL
    if op == "rotate":
        cos, sin = math.cos(math.radians(30 * amount)), math.sin(math.radians(30 * amount))
        return about_centre((cos, -sin, 0.0, sin, cos, 0.0), size=size)
    if op == "shear_x":
        return about_centre((1.0, 0.3 * amount, 0.0, 0.0, 1.0, 0.0), size=size)
    if op == "shear_y":
        return about_centre((1.0, 0.0, 0.0, 0.3 * amount, 1.0, 0.0), size=size)
    if op == "translate_x":
        return (1.0, 0.0, 0.3 * amount * size, 0.0, 1.0, 0.0)
    if op == "translate_y":
        return (1.0, 0.0, 0.0, 0.0, 1.0, 0.3 * amount * size)
    raise ValueError(f"not a geometric operation: {op!r}")


def about_centre(affine: Affine, *, size: int) -> Affine:
    """The same map with the centre of a `size` x `size` crop as its origin."""
    a, b, x, c, d, y = affine
    half = size / 2
    return (a, b, x + half - (a + b) * half, c, d, y + half - (c + d) * half)


def compose(outer: Affine, inner: Affine) -> Affine:
    """The map p -> outer(inner(p))."""
    a, b, x, c, d, y = outer
    e, f, u, g, h, v = inner
    return (a * e + b * g, a * f + b * h, a * u + b * v + x, c * e + d * g, c * f + d * h, c * u + d * v + y)


def photometric_value(op: str, *, level: float, sign: int) -> float:
    """What a level means.

    brightness, color, contrast, sharpness: a blend factor 1 +- 0.9 level/10, 1 leaving the clip as it is. posterize:
    a mask of the bits kept, 255 (eight bits) to 240 (four). solarize: the first value inverted, 256 to 0.
    """
    amount = level / MAX_LEVEL
    if op in ("brightness", "color", "contrast", "sharpness"):
        return 1 + sign * 0.9 * amount
    if op == "posterize":
        return 256.0 - 2 ** round(4 * amount)
    if op == "solarize":
        return 256.0 - round(256 * amount)
    if op in ("autocontrast", "equalize"):
        return 0.0
    raise ValueError(f"not a photometric operation: {op!r}")


def draw_strong(uniform: Sequence[float], *, spec: StrongSpec, size: int) -> Strong:
    """A strong view from uniform numbers in [0, 1): three for Cutout, then three an operation (op, level, sign)."""
    affine, photometric = IDENTITY, []
    for k in range(spec.num_ops):
        u_op, u_level, u_sign = uniform[3 + 3 * k : 6 + 3 * k]
        op = spec.ops[int(u_op * len(spec.ops))]
        level, sign = 1 + u_level * (spec.magnitude - 1), 1 if u_sign < 0.5 else -1
        if op in GEOMETRIC:
            affine = compose(affine, affine_of(op, level=level, sign=sign, size=size))
        elif op != "identity":
            photometric.append((op, photometric_value(op, level=level, sign=sign)))
    return Strong(
        inverse_affine=affine,
        photometric=tuple(photometric),
        cutout=_draw_cutout(uniform[:3], fraction=spec.cutout_fraction, size=size),
        num_ops=spec.num_ops,
    )


def _draw_cutout(uniform: Sequence[float], *, fraction: float, size: int) -> tuple[int, int, int, int]:
    """A square of random side, its centre anywhere in the crop, clipped at the crop's edges (Cutout, Sec. 3.3)."""
    side = round(uniform[0] * fraction * size)
    y, x = (int(u * size) - side // 2 for u in uniform[1:3])
    top, left = max(y, 0), max(x, 0)
    return top, left, min(y + side, size) - top, min(x + side, size) - left
