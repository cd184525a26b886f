"""Where the path of a clip starts: plan -> arrays, one video a call, in a worker process or in the trainer's own.

Everything that the graph needs of a video comes from here, so that below it there is no randomness. Neither torch nor
DALI is imported: workers stay small.

What is fetched of a video ("media") depends on who decodes and who makes the views:

    views   finished views: decoded and made here, for a machine without a GPU
    frames  decoded here; the graph makes the views on its GPU
    cuts    the needed GOPs as bytes; the graph decodes on NVDEC and makes the views on its GPU
    mixed   cuts, but frames of videos that NVDEC does not take (`pipelines.loading.nvdec`)
"""

import dataclasses
import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pipelines.catalog.pool import Pool
from pipelines.errors import VideoError
from pipelines.loading.nvdec import OnCpu
from pipelines.plan.boxes import evaluation_boxes
from pipelines.plan.planner import ClipPlan, Planner, Stream, batch_positions
from pipelines.plan.rand_augment import IDENTITY, PHOTOMETRIC, Strong
from pipelines.video.cut import cut
from pipelines.video.frames import decode_frames
from pipelines.video.packets import check_size
from pipelines.views.make import View, make_views

MAX_ATTEMPTS = 32
"""Replacements tried for one broken video before giving up: more broken ones in a row are no accident."""

BOX, AFFINE, CUTOUT, OPS = slice(0, 4), slice(4, 11), slice(11, 15), 15
"""Where a view's parameters lie in its row: box; whether to warp and the affine map; Cutout; (operation, value)s."""
NO_CUT = (np.zeros(1, dtype=np.uint8), np.zeros(1, dtype=np.int32))
NO_FRAMES = (np.zeros((1, 1, 1, 3), dtype=np.uint8),)
"""What takes the place of the media that a video of mixed ones does not have."""
OP_CODES = {name: code for code, name in enumerate(("identity", *PHOTOMETRIC))}


class _EndsWithTrainer:
    """What a reading process receives by pickle; from then on it ends with the trainer."""

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        end_with_parent()


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainSource(_EndsWithTrainer):
    """Sample number -> (views, ids, problems), or (frames or cut, parameters, ids, problems).

    Called by DALI's external_source with a SampleInfo. `first_micro_step` is where training stands.
    `broken` holds videos (pool indices) known not to decode.
    """

    planner: Planner
    media: str
    batch_size: int
    first_micro_step: int = 0
    rank: int = 0
    num_ranks: int = 1
    on_cpu: OnCpu = field(default_factory=OnCpu)  # of mixed media
    broken: dict[int, str] = field(default_factory=dict)  # grows as this process meets broken ones

    @property
    def pool(self) -> Pool:
        """The stream's videos."""
        return self.planner.pool

    def after(self, num_batches: int) -> "TrainSource":
        """The same source so many batches later."""
        return dataclasses.replace(self, first_micro_step=self.first_micro_step + num_batches)

    def samples(self, iteration: int) -> Iterator[tuple[np.ndarray, ...]]:
        """The samples of a batch, one by one."""
        return map(self.sample, self.positions(iteration))

    def __call__(self, info) -> tuple[np.ndarray, ...]:
        return self.sample(self.positions(info.iteration)[info.idx_in_batch])

    def positions(self, iteration: int) -> range:
        """The positions of this rank's batch, `iteration` micro-steps after the first."""
        return batch_positions(
            self.first_micro_step + iteration,
            batch_size=self.batch_size,
            rank=self.rank,
            num_ranks=self.num_ranks,
        )

    def sample(self, position: int) -> tuple[np.ndarray, ...]:
        """The arrays of the video at a position, or of its first replacement that decodes."""
        problems: list[tuple[str, str]] = []
        for attempt in range(MAX_ATTEMPTS):
            plan = self.planner.plan(position, attempt=attempt)
            try:
                arrays = self._fetch(plan)
            except VideoError as error:
                self.broken[plan.video] = str(error)
                problems.append((self.planner.pool.paths[plan.video], str(error)))
                continue
            label = int(self.planner.pool.labels[plan.video])
            ids = np.array([position, plan.video, label], dtype=np.int64)
            return *arrays, ids, encode_problems(problems)
        raise RuntimeError(f"no decodable video in {MAX_ATTEMPTS} tries at position {position}: {problems[-1]}")

    def _fetch(self, plan: ClipPlan) -> tuple[np.ndarray, ...]:
        if self.media == "views":
            return fetch_views(self.pool, plan.video, self.views(plan), self.broken)
        return *fetch(self, plan.video, plan.frames), parameters(plan)

    def views(self, plan: ClipPlan) -> list[View]:
        """What this stream shows of a video: standard views, or weak and then strong ones; one a network."""
        size = self.planner.geometry.crop_size
        if self.planner.stream == Stream.LABELED:
            return [View(frames=view.frames, box=view.box, size=size) for view in plan.views]
        weak = [View(frames=view.frames, box=plan.weak, size=size) for view in plan.views]
        return weak + [View(frames=v.frames, box=v.box, size=size, strong=v.strong) for v in plan.views]


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationSource(_EndsWithTrainer):
    """Sample number -> all clips of one video: (views, ids, problems), or (frames or cut, boxes, ids, problems).

    A view is one crop of all clips: `num_clips` equally spaced ones from the first frame to the last, of each shape
    in turn.
    """

    pool: Pool
    shapes: tuple
    short_videos: str
    num_clips: int
    num_crops: int
    crop_size: int
    media: str
    batch_size: int
    first_batch: int = 0
    rank: int = 0
    num_ranks: int = 1
    on_cpu: OnCpu = field(default_factory=OnCpu)
    broken: dict[int, str] = field(default_factory=dict)

    def after(self, num_batches: int) -> "EvaluationSource":
        """The same source so many batches later."""
        return dataclasses.replace(self, first_batch=self.first_batch + num_batches)

    def samples(self, iteration: int) -> Iterator[tuple[np.ndarray, ...]]:
        """The samples of a batch, one by one."""
        return (self.sample(self._video(iteration, k)) for k in range(self.batch_size))

    def __call__(self, info) -> tuple[np.ndarray, ...]:
        return self.sample(self._video(info.iteration, info.idx_in_batch))

    def _video(self, iteration: int, place: int) -> int:
        """What a place of a batch shows; the last batch is filled up from the front."""
        number = (self.first_batch + iteration) * self.batch_size + place
        return (number * self.num_ranks + self.rank) % len(self.pool)

    def sample(self, video: int) -> tuple[np.ndarray, ...]:
        """The arrays of one video. A broken one is named and marked by id -1, and never counted in a result: a
        neighbour stands in for it, so that the batch keeps its shape."""
        problems: list[tuple[str, str]] = []
        for attempt in range(MAX_ATTEMPTS):
            shown = (video + attempt) % len(self.pool)
            try:
                arrays = self._fetch(shown)
            except VideoError as error:
                self.broken[shown] = str(error)
                problems.append((self.pool.paths[shown], str(error)))
                continue
            ids = np.array([video, shown if attempt == 0 else -1, int(self.pool.labels[video])], dtype=np.int64)
            return *arrays, ids, encode_problems(problems)
        raise RuntimeError(f"no decodable video in {MAX_ATTEMPTS} tries at video {video}: {problems[-1]}")

    def _fetch(self, video: int) -> tuple[np.ndarray, ...]:
        frames = evaluation_frames(self, int(self.pool.num_frames[video]))
        width, height = int(self.pool.width[video]), int(self.pool.height[video])
        boxes = evaluation_boxes(self.num_crops, width=width, height=height)
        if self.media == "views":
            views = [View(frames=frames, box=box, size=self.crop_size) for box in boxes]
            return fetch_views(self.pool, video, views, self.broken)
        return *fetch(self, video, frames), np.array(boxes, dtype=np.float32)


def evaluation_frames(source: EvaluationSource, num_video_frames: int) -> np.ndarray:
    """Frame indices (sum over shapes of num_clips * T,) of one video: for each shape its clips one after another.

    Clip i starts at round(i / (num_clips - 1) * (frames - span)): the first and the last frame are reached
    (Sec. 4.1). A single clip is the middle one.
    """
    frames = []
    for shape in source.shapes:
        room = max(0, num_video_frames - shape.span_frames)
        shares = [0.5] if source.num_clips == 1 else [i / (source.num_clips - 1) for i in range(source.num_clips)]
        for share in shares:
            start = round(room * share)
            frames.append(shape.frames(start, num_video_frames=num_video_frames, short_videos=source.short_videos))
    return np.concatenate(frames)


def fetch(source: TrainSource | EvaluationSource, video: int, frames: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the graph's decode stage starts from.

    frames: (F, H, W, 3) uint8, decoded here. cuts: the GOPs that hold them, cut out of the file as bytes, and the
    frames' indices (F,) int32 in the cut. mixed: bytes and indices, frames, and which of the two count.
    Raises VideoError with the reason where the video is broken, now or earlier.
    """
    if video in source.broken:
        raise VideoError(source.broken[video])
    by_cpu = source.media == "frames" or (source.media == "mixed" and source.on_cpu.holds(source.pool, video))
    media = _decoded(source.pool, video, frames) if by_cpu else _cut(source.pool, video, frames)
    if source.media != "mixed":
        return media
    return (*NO_CUT, *media, np.array(True)) if by_cpu else (*media, *NO_FRAMES, np.array(False))


def _decoded(pool: Pool, video: int, frames: np.ndarray) -> tuple[np.ndarray]:
    clip = decode_frames(pool.paths[video], frames, exact_seek=bool(pool.exact_seek[video]))
    check_size(clip.shape[2], clip.shape[1], picture_size(pool, video))
    return (clip,)


def _cut(pool: Pool, video: int, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    made = cut(pool.paths[video], frames, exact_seek=bool(pool.exact_seek[video]))
    return np.frombuffer(made.content, dtype=np.uint8), made.frames


def fetch_views(pool: Pool, video: int, views: list[View], broken: dict[int, str]) -> tuple[np.ndarray, ...]:
    """Each view (F, S, S, 3) uint8. Raises VideoError as `fetch` does."""
    if video in broken:
        raise VideoError(broken[video])
    exact_seek = bool(pool.exact_seek[video])
    return tuple(make_views(pool.paths[video], views, exact_seek=exact_seek, picture_size=picture_size(pool, video)))


def picture_size(pool: Pool, video: int) -> tuple[int, int]:
    """(width, height) in pixels, as probed."""
    return int(pool.width[video]), int(pool.height[video])


@functools.cache
def end_with_parent() -> None:
    """A reading process ends when its trainer does, also when that is killed; without this it would wait for ever."""
    trainer = multiprocessing.parent_process()
    if trainer is None:
        return

    def wait_and_end() -> None:
        multiprocessing.connection.wait([trainer.sentinel])
        os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


def parameters(plan: ClipPlan) -> np.ndarray:
    """(1 + networks, OPS + 2 n) float32: the weak view's row, then one row a network (see BOX, AFFINE, CUTOUT, OPS)."""
    rows = [view_row(view.box, view.strong) for view in plan.views]
    weak = list(plan.weak) + [0.0] * (len(rows[0]) - 4)
    return np.array([weak, *rows], dtype=np.float32)


def view_row(box: Iterable[float], strong: Strong) -> list[float]:
    """One view's parameters in the order that the graph reads them."""
    warps = float(strong.inverse_affine != IDENTITY)
    ops = [number for op, value in strong.photometric for number in (OP_CODES[op], value)]
    padding = [0.0] * (2 * strong.num_ops - len(ops))
    return [*box, warps, *strong.inverse_affine, *strong.cutout, *ops, *padding]


def encode_problems(problems: list[tuple[str, str]]) -> np.ndarray:
    """(path, reason) pairs as bytes, so that they travel with the batch; empty for nearly all videos."""
    return np.frombuffer(json.dumps(problems).encode(), dtype=np.uint8) if problems else np.empty(0, np.uint8)


def decode_problems(note: np.ndarray) -> list[tuple[str, str]]:
    """The pairs that `encode_problems` was given."""
    return [tuple(pair) for pair in json.loads(note.tobytes())] if note.size else []
