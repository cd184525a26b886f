"""The usable videos that one stream draws from, column by column."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipelines.catalog.manifest import Manifest
from pipelines.errors import InputError


class Picture(NamedTuple):
    """The pictures of one video: the size that people see, and the size and turns that they are stored with."""

    width: int  # of the upright picture of square pixels
    height: int
    stored_width: int  # of the decoded frame, in pixels
    stored_height: int
    turns: int  # quarter turns against the clock, 0 to 3, that make it upright
    mirrored: int = 0  # 1 where left and right change places before that

    @classmethod
    def plain(cls, width: int, height: int) -> "Picture":
        """A picture stored as it is seen."""
        return cls(width, height, width, height, 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """N videos in plain arrays, so that a worker receives them in one cheap pickle."""

    paths: tuple[str, ...]  # absolute
    labels: np.ndarray  # (N,) int64, -1 where the class is unknown
    num_frames: np.ndarray  # (N,) int64
    fps: np.ndarray  # (N,) float64
    width: np.ndarray  # (N,) int64, pixels of the upright picture
    height: np.ndarray  # (N,) int64, pixels of the upright picture
    exact_seek: np.ndarray  # (N,) bool: decoding may start at a keyframe
    codings: tuple[str, ...]  # those that there are: codec and pixel format, such as "h264 yuv420p interlaced"
    coding: np.ndarray  # (N,) int64, index into codings
    stored: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), dtype=np.int64))
    """(N, 4) stored width and height, quarter turns, and 1 where mirrored; (0, 4) where all are stored as seen."""

    def __post_init__(self) -> None:
        if not self.paths:
            raise InputError("pool: received no usable video; accepted: at least one")
        for name in ("labels", "num_frames", "fps", "width", "height", "exact_seek", "coding"):
            column = getattr(self, name)
            if column.shape != (len(self.paths),):
                raise ValueError(f"pool.{name}: received shape {column.shape}; accepted: ({len(self.paths)},)")
        if self.stored.shape not in ((0, 4), (len(self.paths), 4)):
            raise ValueError(f"pool.stored: received shape {self.stored.shape}; accepted: ({len(self.paths)}, 4)")

    def __len__(self) -> int:
        return len(self.paths)

    def picture(self, video: int) -> Picture:
        """Returns the sizes of a video's pictures."""
        width, height = int(self.width[video]), int(self.height[video])
        if not len(self.stored):
            return Picture.plain(width, height)
        return Picture(width, height, *self.stored[video].tolist())

    def stored_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns width and height (N,) of the pictures as they are coded, before they are turned and made square."""
        return (self.stored[:, 0], self.stored[:, 1]) if len(self.stored) else (self.width, self.height)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all pictures of all videos, as RGB."""
        width, height = self.stored_sizes()
        return int((3 * self.num_frames * width * height).sum())

    def bytes_held(self, *, most: int) -> int:
        """Bytes that a process takes that keeps all these pictures; 0 where that is more than `most`, since keeping a
        part of them would seldom be of use."""
        return self.decoded_bytes if self.decoded_bytes <= most else 0

    def coding_of(self, video: int) -> str:
        """Returns codec and pixel format of a video, such as "h264 yuv420p", and if it is interlaced."""
        return self.codings[self.coding[video]]


_ODD = ("interlaced",)
"""What a coding says besides of videos whose rows are of two moments: NVDEC counts their fields, not their frames."""


def pool_of(*selections: tuple[Manifest, np.ndarray]) -> Pool:
    """Joins the videos `indices` of each (manifest, indices). Videos with a problem must not be selected."""

    def column(name: str, dtype: type) -> np.ndarray:
        parts = [np.asarray(getattr(manifest, name))[indices] for manifest, indices in selections]
        return np.concatenate(parts).astype(dtype)

    names = [
        " ".join((*coding, *more)) for manifest, _ in selections for coding in manifest.codings for more in ((), _ODD)
    ]
    before = np.cumsum([0] + [2 * len(manifest.codings) for manifest, _ in selections])
    shifted = [
        2 * manifest.facts["coding"][indices] + manifest.facts["interlaced"][indices] + first
        for (manifest, indices), first in zip(selections, before, strict=False)
    ]
    stored = np.concatenate([manifest.stored[indices] for manifest, indices in selections])
    width, height = column("width", np.int64), column("height", np.int64)
    no = np.zeros_like(width)
    is_plain = np.array_equal(stored, np.stack([width, height, no, no], axis=1))
    used, coding = np.unique(np.concatenate(shifted), return_inverse=True)
    return Pool(
        paths=tuple(f"{manifest.root}/{manifest.paths[i]}" for manifest, indices in selections for i in indices),
        labels=column("labels", np.int64),
        num_frames=column("num_frames", np.int64),
        fps=column("fps", np.float64),
        width=width,
        height=height,
        exact_seek=column("exact_seek", np.bool_),
        codings=tuple(names[index] for index in used),
        coding=coding.astype(np.int64),
        stored=stored[:0] if is_plain else stored,
    )
