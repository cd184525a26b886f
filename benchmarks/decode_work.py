"""Counts the frames that a decoder goes through for those that clips show."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.video.container import demux, open_video, video_errors
from pipelines.video.cut import cut
from pipelines.video.packets import read_near, select_packets


@dataclass(frozen=True, kw_only=True)
class DecodeWork:
    """Frames that a decoder goes through for the distinct frames that clips show; counted, not timed."""

    num_wanted: int = 0
    from_start: int = 0
    """By a decoder that does not seek: everything up to the last frame wanted."""
    from_keyframes: int = 0
    """From the keyframe before each wanted frame on: what `pipelines.video.packets.select_packets` picks."""
    needed: int = 0
    """Packets left of these without those that nothing refers to and nobody asked for (`video.cut`)."""

    def __add__(self, other: "DecodeWork") -> "DecodeWork":
        return DecodeWork(**{name: count + getattr(other, name) for name, count in vars(self).items()})


def decode_work(path: Path | str, frames: np.ndarray, *, exact_seek: bool) -> DecodeWork:
    """Counts the packets, one a frame, that the distinct ones of these frames of a video need.

    Raises VideoError where the file cannot be read.
    """
    wanted = np.unique(frames)
    from_start = int(wanted[-1]) + 1
    whole = DecodeWork(num_wanted=len(wanted), from_start=from_start, from_keyframes=from_start, needed=from_start)
    if not exact_seek:
        return whole
    with video_errors(), open_video(path, headers_only=True) as (container, stream):
        table, _ = read_near(container, stream, wanted)
    if table is None or wanted[-1] >= len(table.shown) or not table.keyframe[0]:
        return whole
    needed = num_packets(cut(path, wanted, exact_seek=True).content)
    from_keyframes = sum(map(len, select_packets(table, wanted)))
    return dataclasses.replace(whole, from_keyframes=from_keyframes, needed=needed)


def num_packets(content: bytes) -> int:
    """Counts the packets, one a frame, of a file in memory."""
    with video_errors(), open_video(content, headers_only=True) as opened:
        return sum(1 for _ in demux(*opened))
