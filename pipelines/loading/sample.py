"""What a worker hands over of one video, as types: media, parameters, ids, problems.

Legend: F frames, H x W pixels of the source, S crop side.
"""

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import numpy as np

Problems = tuple[tuple[str, str], ...]
"""(path, reason) of each video that was set aside before one decoded, and of a damaged one that is shown."""


class Media(StrEnum):
    """What is handed over of a video. It follows from who decodes and who makes the views."""

    VIEWS = "views"
    """Finished views: a worker decodes and makes them. For a machine without a GPU."""
    FRAMES = "frames"
    """A worker decodes; the graph makes the views on its GPU."""
    CUTS = "cuts"
    """The needed GOPs as bytes: the graph decodes on NVDEC and makes the views on its GPU."""
    MIXED = "mixed"
    """Cuts, but frames of the videos that NVDEC does not take (`loading.nvdec`)."""

    @property
    def layouts(self) -> tuple[str, ...]:
        """DALI's layout of each array of `Sample.media`. Raises ValueError for views: their number is the source's."""
        if self is Media.VIEWS:
            raise ValueError("media: views have as many layouts as the source has views")
        return {Media.FRAMES: ("FHWC", ""), Media.CUTS: ("", "", ""), Media.MIXED: ("", "", "FHWC", "", "")}[self]

    @property
    def has_cuts(self) -> bool:
        """Whether the graph decodes."""
        return self in (Media.CUTS, Media.MIXED)


class Frames(NamedTuple):
    """The arrays of `Media.FRAMES`."""

    frames: np.ndarray  # (D, H, W, 3) uint8, each frame once
    order: np.ndarray  # (F,) int32: which of them is shown when

    @classmethod
    def of(cls, frames: np.ndarray, order: np.ndarray | None = None) -> "Frames":
        """Frames in this order; by default as they are."""
        return cls(frames, (np.arange(len(frames)) if order is None else order).astype(np.int32))


class CutMedia(NamedTuple):
    """The arrays of `Media.CUTS`.

    DALI's decoder starts anew at the file's first frame whenever the next index is not above the last one. So it is
    asked for each frame once, in ascending order; the graph puts them in order behind it.
    """

    content: np.ndarray  # (bytes,) uint8: a small MP4
    indices: np.ndarray  # (D,) int32, distinct and ascending: its frames that are decoded
    order: np.ndarray  # (F,) int32: which of those is shown when

    @classmethod
    def of(cls, content: bytes, frames: np.ndarray) -> "CutMedia":
        """The frames (F,) of a file in memory, in any order, with repetitions."""
        indices, order = np.unique(frames, return_inverse=True)
        return cls(np.frombuffer(content, dtype=np.uint8), indices.astype(np.int32), order.astype(np.int32))


class MixedMedia(NamedTuple):
    """The arrays of `Media.MIXED`: a cut, or the frames where `by_cpu`. The other part is a placeholder."""

    content: np.ndarray
    indices: np.ndarray
    frames: np.ndarray
    by_cpu: np.ndarray  # () bool
    order: np.ndarray  # (F,) int32, of whichever there is

    @classmethod
    def of_cut(cls, cut: CutMedia) -> "MixedMedia":
        """A video that NVDEC decodes."""
        nothing = np.zeros((1, 1, 1, 3), dtype=np.uint8)
        return cls(cut.content, cut.indices, nothing, np.array(False), cut.order)

    @classmethod
    def of_frames(cls, frames: Frames) -> "MixedMedia":
        """A video that a worker decoded."""
        content, indices = np.zeros(1, dtype=np.uint8), np.zeros(1, dtype=np.int32)
        return cls(content, indices, frames.frames, np.array(True), frames.order)


class Ids(NamedTuple):
    """Which video a sample shows. It travels as (4,) int64."""

    number: int  # in training the position in the stream; in evaluation the pool index asked for
    video: int  # pool index of what is shown
    label: int  # class of the video asked for, -1 where unknown
    stands_in: int = 0  # 1 where evaluation shows a neighbor of a broken video, which must not be counted


class Sample(NamedTuple):
    """One video of a batch. `media` is as `Media` says; with finished views `parameters` is None."""

    media: tuple[np.ndarray, ...]
    parameters: np.ndarray | None  # training: `loading.parameters`; evaluation: (crops, 4) float32 boxes
    ids: Ids
    problems: Problems = ()

    def as_arrays(self) -> tuple[np.ndarray, ...]:
        """The same as arrays alone, as DALI's external_source takes them: (*media, parameters, ids, problems)."""
        parameters = () if self.parameters is None else (self.parameters,)
        return *self.media, *parameters, np.array(self.ids, dtype=np.int64), encode_problems(self.problems)


def encode_problems(problems: Iterable[tuple[str, str]]) -> np.ndarray:
    """(bytes,) uint8: (path, reason) pairs that travel with the batch; empty for nearly all videos."""
    pairs = list(problems)
    return np.frombuffer(json.dumps(pairs).encode(), dtype=np.uint8) if pairs else np.empty(0, np.uint8)


def decode_problems(note: np.ndarray) -> Problems:
    """The pairs that `encode_problems` was given."""
    return tuple((path, reason) for path, reason in json.loads(note.tobytes())) if note.size else ()
