"""Boxes: what part of a source frame a view shows (weak, standard, evaluation), as values of a plan.

A box is (top, left, bottom, right) in whole pixels of the upright picture, the part that is scaled to the crop's size
in one resize. Scaling the short side to s and cropping c pixels out of it shows c/s of the short side, so the two steps
are one. left > right mirrors the view. `stored_box` says where that part lies in the picture as the decoder gives it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pipelines.catalog.pool import Picture

Box = tuple[int, int, int, int]


def weak_box(*, width: int, height: int, short_side: int, crop_size: int) -> Box:
    """T_weak: the short side scaled to `short_side`, then the center `crop_size` x `crop_size` (Sec. 3.3)."""
    return _box(0.5, 0.5, width=width, height=height, share=crop_size / short_side)


def standard_box(
    uniform: Sequence[float],
    *,
    width: int,
    height: int,
    short_side_jitter: tuple[int, int],
    crop_size: int,
    horizontal_flip: bool,
) -> Box:
    """T_standard: short side jittered, random crop, flip with probability 1/2; four uniform numbers in [0, 1)."""
    low, high = short_side_jitter
    short_side = low + int(uniform[0] * (high - low + 1))
    box = _box(uniform[1], uniform[2], width=width, height=height, share=crop_size / short_side)
    return mirrored(box) if horizontal_flip and uniform[3] < 0.5 else box


def evaluation_boxes(num_crops: int, *, width: int, height: int) -> list[Box]:
    """`num_crops` squares of the whole short side along the longer side, first to last (Sec. 4.1); 1 is the center."""
    places = [0.5] if num_crops == 1 else [i / (num_crops - 1) for i in range(num_crops)]
    return [_box(p, p, width=width, height=height, share=1.0) for p in places]


def mirrored(box: Box) -> Box:
    """The same part of the frame, left and right exchanged."""
    top, left, bottom, right = box
    return top, right, bottom, left


class StoredBox(NamedTuple):
    """A box in whole pixels of the stored picture, and what makes its content upright.

    Rows are read from `top` to `bottom`, upwards where top > bottom; columns likewise. Then rows and columns change
    places where `transposed` is 1.
    """

    top: int
    left: int
    bottom: int
    right: int
    transposed: int


def stored_box(box: Box, picture: Picture) -> StoredBox:
    """Returns where the part of the upright picture lies in the stored one, to the nearest pixel."""
    top, left, bottom, right = box
    turned = picture.turns % 2
    # The stored picture with square pixels: a quarter turn exchanges its sides.
    width, height = (picture.height, picture.width) if turned else (picture.width, picture.height)
    rows, columns = ((left, right), (top, bottom)) if turned else ((top, bottom), (left, right))
    if picture.turns in (2, 3):
        rows = height - rows[0], height - rows[1]
    if picture.turns in (1, 2):
        columns = width - columns[0], width - columns[1]
    if picture.mirrored:
        columns = width - columns[0], width - columns[1]
    first, last = sorted(round(x * picture.stored_width / width) for x in columns)
    if first == last:  # a narrow box in a picture that is stretched: one pixel at least
        first = min(first, picture.stored_width - 1)
        last = first + 1
    if columns[0] > columns[1]:
        first, last = last, first
    return StoredBox(rows[0], first, rows[1], last, turned)


def _box(place_y: float, place_x: float, *, width: int, height: int, share: float) -> Box:
    """A square of `share` of the short side, at `place` (0 to 1) of the room that is left."""
    side = max(1, round(share * min(width, height)))
    top, left = round(place_y * (height - side)), round(place_x * (width - side))
    return top, left, top + side, left + side
