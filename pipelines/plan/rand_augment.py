"""The strong view (Sec. 3.3) as values of a plan: RandAugment's operations, then Cutout.

Geometric operations of a clip are composed into one affine map, applied once; the others follow in the order
drawn. All parameters are constant over the frames of a clip, and statistics (the mean of `contrast`, the range of
`autocontrast`, the histogram of `equalize`) are those of the whole clip, so that a clip never flickers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import InputError
from pipelines.plan.operations import IDENTITY, RAND_AUGMENT_OPS, Affine, Geometric, operation

FILL = 115
"""Gray of what a warp or Cutout uncovers: 0.45 of 255, the mean that normalization maps to zero."""

MAX_LEVEL = 10


@dataclass(frozen=True, kw_only=True)
class StrongSpec:
    """RandAugment with `num_ops` operations (n) of level 1 to `magnitude` (m, out of 10), then Cutout."""

    ops: tuple[str, ...] = RAND_AUGMENT_OPS
    """Names of `plan.operations`, plug-ins' included."""
    num_ops: int = 2
    magnitude: float = 10.0
    cutout_fraction: float = 0.5
    """Largest side of the Cutout square, as a share of the crop's side."""

    def __post_init__(self) -> None:
        for op in self.ops:
            operation(op)
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
    """(operation, value) in the order of application; an operation says what its value means."""
    codes: tuple[int, ...]
    """Code of each of them in a graph: 1 + its place in the specification's `ops`."""
    cutout: tuple[int, int, int, int]
    """y, x, height, width in pixels; 0 x 0 where there is none."""
    num_ops: int
    """Operations drawn, identity and geometric ones included."""


def compose(outer: Affine, inner: Affine) -> Affine:
    """The map p -> outer(inner(p))."""
    a, b, x, c, d, y = outer
    e, f, u, g, h, v = inner
    return (a * e + b * g, a * f + b * h, a * u + b * v + x, c * e + d * g, c * f + d * h, c * u + d * v + y)


def draw_strong(uniform: Sequence[float], *, spec: StrongSpec, size: int) -> Strong:
    """A strong view from uniform numbers in [0, 1): three for Cutout, then three an operation (op, level, sign)."""
    affine, photometric, codes = IDENTITY, [], []
    for k in range(spec.num_ops):
        u_op, u_level, u_sign = uniform[3 + 3 * k : 6 + 3 * k]
        index = int(u_op * len(spec.ops))
        magnitude = (1 if u_sign < 0.5 else -1) * (1 + u_level * (spec.magnitude - 1)) / MAX_LEVEL
        drawn = operation(spec.ops[index])
        if isinstance(drawn, Geometric):
            affine = compose(affine, drawn.affine(magnitude, size))
        else:
            photometric.append((spec.ops[index], drawn.value(magnitude)))
            codes.append(1 + index)
    return Strong(
        inverse_affine=affine,
        photometric=tuple(photometric),
        codes=tuple(codes),
        cutout=_draw_cutout(uniform[:3], fraction=spec.cutout_fraction, size=size),
        num_ops=spec.num_ops,
    )


def _draw_cutout(uniform: Sequence[float], *, fraction: float, size: int) -> tuple[int, int, int, int]:
    """A square of random side, its center anywhere in the crop, clipped at the crop's edges (Cutout, Sec. 3.3)."""
    side = round(uniform[0] * fraction * size)
    y, x = (int(u * size) - side // 2 for u in uniform[1:3])
    top, left = max(y, 0), max(x, 0)
    return top, left, min(y + side, size) - top, min(x + side, size) - left
