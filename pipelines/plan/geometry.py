"""The geometry of clips as values: how many frames, how far apart, how large (leaf)."""

import re
from dataclasses import dataclass

import numpy as np

from pipelines.errors import InputError

SPAN_FRAMES = 64
"""Consecutive frames a training clip is sampled from (Sec. 4.1: "64 consecutive frames as a raw clip")."""

SHORT_VIDEOS = ("loop", "repeat-last")


@dataclass(frozen=True)
class ClipShape:
    """`num_frames` frames, `stride` source frames apart; written `8x8`, as Sec. 4.1 does.

    With `pairs` frames come in twos, `stride` apart, the frame before and the frame itself: for what is seen between
    neighbors (temporal gradient, optical flow). The video's first frame has itself before it.
    """

    num_frames: int
    stride: int
    pairs: bool = False

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.stride < 1:
            raise InputError(f"clip: received {self}; accepted: frames and stride of at least 1")
        if self.pairs and self.num_frames % 2:
            raise InputError(f"clip: received {self}; accepted: an even number of frames in pairs")

    @classmethod
    def parse(cls, text: str) -> "ClipShape":
        """`ClipShape.parse("16x4")`. Raises InputError for anything but FRAMESxSTRIDE."""
        match = re.fullmatch(r"(\d+)x(\d+)", text)
        if not match:
            raise InputError(f"clip: received {text!r}; accepted: FRAMESxSTRIDE, such as 8x8, 16x4 or 32x2")
        return cls(int(match[1]), int(match[2]))

    @property
    def span_frames(self) -> int:
        """Source frames that the clip stretches over: 64 for 8x8, 16x4, 32x2 and pairs of 16x8."""
        return self._num_places * self.stride

    @property
    def _num_places(self) -> int:
        return self.num_frames // 2 if self.pairs else self.num_frames

    def frames(self, start: int, *, num_video_frames: int, short_videos: str = "loop") -> np.ndarray:
        """Source frame indices (num_frames,) int32 of the clip that starts at `start`; always inside the video.

        A video shorter than the span is looped (frame i shows i modulo its length) or, with `repeat-last`,
        stands still at its last frame. Black frames never occur.
        """
        index = start + self.stride * np.arange(self._num_places, dtype=np.int32)
        if short_videos == "loop":
            index %= np.int32(num_video_frames)
        index = np.minimum(index, np.int32(num_video_frames - 1))
        if self.pairs:
            index = np.stack([np.maximum(index - 1, 0), index], axis=1).ravel()
        return index

    def __str__(self) -> str:
        return f"{self.num_frames}x{self.stride}{' pairs' if self.pairs else ''}"


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What both networks see of a video. Lengths in pixels unless the name says otherwise."""

    primary: ClipShape = ClipShape(8, 8)
    auxiliary: ClipShape | None = ClipShape(16, 4)
    crop_size: int = 224
    short_side: int = 256
    """Weak view and evaluation scale the short side to this."""
    short_side_jitter: tuple[int, int] = (256, 320)
    """Standard and strong views scale the short side to a value in this closed range."""
    max_offset_seconds: float = 0.0
    """t_s: largest distance between the starts of the two networks' clips (Sec. 3.3)."""
    flow: bool = False
    """Whether optical flow is seen too: a third view, between the frames of the auxiliary clip's pairs."""
    start_multiple: int = 1
    """Clips start at multiples of so many frames: 4 for files of `cmpl prepare --form aligned`."""
    short_videos: str = "loop"

    def __post_init__(self) -> None:
        low, high = self.short_side_jitter
        if not self.crop_size <= low <= high:
            raise InputError(
                f"short_side_jitter: received {self.short_side_jitter}; accepted: low <= high, "
                f"both at least crop_size = {self.crop_size}"
            )
        if not 1 <= self.crop_size <= self.short_side:
            raise InputError(f"crop_size: received {self.crop_size}; accepted: 1 to short_side = {self.short_side}")
        if self.max_offset_seconds < 0:
            raise InputError(f"max_offset_seconds: received {self.max_offset_seconds}; accepted: 0 or more")
        if self.flow and not (self.auxiliary and self.auxiliary.pairs):
            raise InputError(f"flow: received an auxiliary clip {self.auxiliary}; accepted: one of pairs")
        if self.start_multiple < 1:
            raise InputError(f"start_multiple: received {self.start_multiple}; accepted: 1 or more frames")
        if self.short_videos not in SHORT_VIDEOS:
            raise InputError(f"short_videos: received {self.short_videos!r}; accepted: {', '.join(SHORT_VIDEOS)}")

    @property
    def shapes(self) -> tuple[ClipShape, ...]:
        """The clip of each network that there is, the primary's first."""
        return (self.primary,) if self.auxiliary is None else (self.primary, self.auxiliary)

    @property
    def num_frames(self) -> int:
        """Frames asked of the decoder for one video: the primary's, then the auxiliary's."""
        return sum(shape.num_frames for shape in self.shapes)
