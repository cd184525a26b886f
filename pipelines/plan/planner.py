"""All randomness of the data side: a pure function of (seed, stream, epoch, index).

Any step of any epoch can be rebuilt alone, on any number of ranks and workers; to go on after a stop, the position
is enough. Legend: `position` counts the videos of a stream from the start of training, over all ranks;
(epoch, index) = divmod(position, videos in the pool).
"""

import functools
import threading
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from pipelines.catalog.pool import Pool
from pipelines.plan.boxes import Box, standard_box, weak_box
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.rand_augment import Strong, StrongSpec, draw_strong

NUM_UNIFORM = 48
"""Uniform numbers drawn for a video: 2 for time, then 23 a network. Fixed slots: a new decision takes a free one."""
SLOTS_PER_NETWORK = 23
MAX_RAND_AUGMENT_OPS = 5
"""Four of a network's slots place the crop, three Cutout; the rest hold three an operation."""


class Stream(IntEnum):
    """Which stream of random numbers; part of every draw's key."""

    LABELED = 0
    UNLABELED = 1
    ORDER = 2  # plus 0 or 1 for the stream that is put in order
    REPLACEMENT = 4  # likewise


@dataclass(frozen=True)
class ViewPlan:
    """What one network is shown of one video."""

    frames: np.ndarray  # (T,) int32 source frame indices
    box: Box  # standard crop: of the labeled video, or under the strong view
    strong: Strong


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """Every decision about one video of one stream."""

    position: int
    video: int  # index into the pool
    weak: Box
    primary: ViewPlan
    auxiliary: ViewPlan | None

    @property
    def views(self) -> tuple[ViewPlan, ...]:
        return (self.primary,) if self.auxiliary is None else (self.primary, self.auxiliary)

    @property
    def frames(self) -> np.ndarray:
        """Frames asked of the decoder (T_primary + T_auxiliary,): any order, with repetitions."""
        return np.concatenate([view.frames for view in self.views])


@dataclass(frozen=True, eq=False, kw_only=True)
class Planner:
    """The plan of one stream over one pool."""

    pool: Pool
    seed: int
    stream: Stream
    geometry: Geometry
    strong: StrongSpec = field(default_factory=StrongSpec)
    horizontal_flip: bool = True

    def __post_init__(self) -> None:
        if self.stream not in (Stream.LABELED, Stream.UNLABELED):
            raise ValueError(f"stream: received {self.stream!r}; accepted: LABELED, UNLABELED")
        if self.strong.num_ops > MAX_RAND_AUGMENT_OPS:
            raise ValueError(f"num_ops: received {self.strong.num_ops}; accepted: 0 to {MAX_RAND_AUGMENT_OPS}")

    def plan(self, position: int, *, attempt: int = 0) -> ClipPlan:
        """The plan at a position. `attempt` k > 0 plans the k-th replacement of a video that could not be decoded."""
        epoch, index = divmod(position, len(self.pool))
        video = self._video(epoch, index, attempt)
        uniform = uniforms(self.seed, self.stream, epoch, index).tolist()
        starts = self._starts(video, uniform[0], uniform[1])
        width, height = int(self.pool.width[video]), int(self.pool.height[video])
        views = [
            self._view(shape, video, start, uniform[2 + k * SLOTS_PER_NETWORK :], width=width, height=height)
            for k, (shape, start) in enumerate(zip(self.geometry.shapes, starts, strict=False))
        ]
        g = self.geometry
        return ClipPlan(
            position=position,
            video=video,
            weak=weak_box(width=width, height=height, short_side=g.short_side, crop_size=g.crop_size),
            primary=views[0],
            auxiliary=views[1] if len(views) > 1 else None,
        )

    def _video(self, epoch: int, index: int, attempt: int) -> int:
        """One permutation an epoch; a replacement is drawn anew from the whole pool."""
        if attempt == 0:
            return int(epoch_order(self.seed, self.stream, epoch, len(self.pool))[index])
        draw = uniforms(self.seed, Stream.REPLACEMENT + self.stream, epoch, index)[attempt % NUM_UNIFORM]
        return int(draw * len(self.pool))

    def _starts(self, video: int, u_start: float, u_offset: float) -> tuple[int, int]:
        """Start frame of the primary's clip, uniform over the video, and of the auxiliary's: at most t_s seconds
        away, uniformly, kept inside the video (Sec. 3.3)."""
        num_frames, g = int(self.pool.num_frames[video]), self.geometry
        start = int(u_start * (max(0, num_frames - g.primary.span_frames) + 1))
        start -= start % g.start_multiple
        if g.auxiliary is None:
            return start, start
        offset_frames = round((2 * u_offset - 1) * g.max_offset_seconds * float(self.pool.fps[video]))
        other = min(max(start + offset_frames, 0), max(0, num_frames - g.auxiliary.span_frames))
        return start, other - other % g.start_multiple

    def _view(
        self, shape: ClipShape, video: int, start: int, uniform: list[float], *, width: int, height: int
    ) -> ViewPlan:
        g = self.geometry
        box = standard_box(
            uniform[:4],
            width=width,
            height=height,
            short_side_jitter=g.short_side_jitter,
            crop_size=g.crop_size,
            horizontal_flip=self.horizontal_flip,
        )
        num_video_frames = int(self.pool.num_frames[video])
        return ViewPlan(
            frames=shape.frames(start, num_video_frames=num_video_frames, short_videos=g.short_videos),
            box=box,
            strong=draw_strong(uniform[4:], spec=self.strong, size=g.crop_size),
        )


def uniforms(seed: int, stream: int, epoch: int, index: int) -> np.ndarray:
    """(NUM_UNIFORM,) float64 in [0, 1): Philox, key = (seed, stream), index and epoch in the high counter words."""
    return _DRAWS.generator_at(seed, stream, epoch, index).random(NUM_UNIFORM)


class _Draws(threading.local):
    """One generator a thread, set to where it is to draw: making one anew takes five times as long."""

    def __init__(self) -> None:
        self._philox = _philox(0, 0, 0, 0)
        self._generator = np.random.Generator(self._philox)
        self._state: Any = self._philox.state  # of one that has drawn nothing

    def generator_at(self, seed: int, stream: int, epoch: int, index: int) -> np.random.Generator:
        self._state["state"]["key"][:] = seed, int(stream)
        self._state["state"]["counter"][:] = 0, 0, index, epoch
        self._philox.state = self._state
        return self._generator


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, stream: int, epoch: int, num_videos: int) -> np.ndarray:
    """The permutation (num_videos,) in which an epoch visits the pool."""
    return np.random.Generator(_philox(seed, Stream.ORDER + stream, epoch, 0)).permutation(num_videos)


def _philox(seed: int, stream: int, epoch: int, index: int) -> np.random.Philox:
    key = np.array([seed, int(stream)], dtype=np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, 0, index, epoch], dtype=np.uint64))


def batch_positions(micro_step: int, *, batch_size: int, rank: int, num_ranks: int) -> range:
    """Positions of one rank's batch. The ranks' batches lie side by side, so that the global order of samples is the
    same whatever their number."""
    first = (micro_step * num_ranks + rank) * batch_size
    return range(first, first + batch_size)


_DRAWS = _Draws()
