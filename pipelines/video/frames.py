"""Frames of one video on a CPU, in any order, from as few packets as they need: cut first, then decoded from the start.

Legend: F frames asked for, H x W pixels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from pipelines.video.cut import cut_short
from pipelines.video.packets import checked_frames, decode_from_start, images_of


def decode_frames(source: Path | str | bytes, frames: Sequence[int], *, exact_seek: bool) -> np.ndarray:
    """The frames of these presentation indices: (F, H, W, 3) uint8 RGB, in the order asked for.

    The result equals decoding the whole video and picking, bit for bit, for any order and repetition. With
    `exact_seek` (see `VideoFacts`) only the GOPs that hold the frames are decoded; without it everything from
    the first frame to the last one asked for. Raises VideoError where the video has fewer frames, changes its
    picture size between them or cannot be decoded; InputError for no or negative indices.
    """
    asked = checked_frames(frames)
    wanted, slots = np.unique(asked, return_inverse=True)
    rgb = images_of(decode_each(source, wanted, exact_seek=exact_seek), num_frames=len(wanted))
    return rgb if np.array_equal(wanted, asked) else rgb[slots]


def decode_each(
    source: Path | str | bytes, wanted: np.ndarray, *, exact_seek: bool
) -> Iterator[tuple[int, av.VideoFrame]]:
    """(k, picture of frame `wanted[k]`) for every k, in order; `wanted` (F,) ascends.

    Raises VideoError as `decode_frames` does, after the pictures before the fault.
    """
    made = cut_short(source, wanted) if exact_seek else None
    if made is None:
        return decode_from_start(source, wanted)
    return decode_from_start(made.content, made.frames)
