"""A plan as one row of floats a view: how the graph on a GPU hears what was drawn.

DALI takes arrays, not plans. A worker writes each view's numbers into a row; the graph reads them by name.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from pipelines.catalog.pool import Picture
from pipelines.plan.boxes import stored_box
from pipelines.plan.operations import IDENTITY
from pipelines.plan.planner import ClipPlan
from pipelines.plan.rand_augment import Strong


class ViewRow(NamedTuple):
    """The parts of one view's row: arrays, or nodes of a graph."""

    box: Any  # (5,) a `StoredBox`: top, left, bottom, right in stored pixels, and 1 where the view is transposed
    warp: Any  # (7,) 1 where the clip is warped, then the inverse affine map
    cutout: Any  # (4,) y, x, height, width in pixels of the crop
    ops: Any  # (2 n,) operation code and value, n times

    @classmethod
    def of(cls, row: Any) -> "ViewRow":
        """The parts of a row, array or node."""
        return cls(box=row[0:5], warp=row[5:12], cutout=row[12:16], ops=row[16:])


def parameters(plan: ClipPlan, picture: Picture) -> np.ndarray:
    """Returns (1 + networks, 16 + 2 n) float32: the weak view's row, then a row a network.

    Of the weak view the box alone counts. `picture` is the planned video's.
    """
    rows = [view_row(stored_box(view.box, picture), view.strong) for view in plan.views]
    weak = [*stored_box(plan.weak, picture), *[0.0] * (len(rows[0]) - 5)]
    return np.array([weak, *rows], dtype=np.float32)


def view_row(box: Iterable[float], strong: Strong) -> list[float]:
    """One view's numbers in the order of `ViewRow`."""
    warps = float(strong.inverse_affine != IDENTITY)
    values = (value for _, value in strong.photometric)
    ops = [number for pair in zip(strong.codes, values, strict=True) for number in pair]
    padding = [0.0] * (2 * strong.num_ops - len(ops))
    return [*box, warps, *strong.inverse_affine, *strong.cutout, *ops, *padding]
