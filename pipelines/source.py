"""Where the path of a clip starts: plan -> arrays, one video a call, in a worker process or in the trainer's own.

Everything that the graph needs of a video comes from here, so that below it there is no randomness. Neither torch nor
DALI is imported: workers stay small.
"""

import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pipelines.decode import decode_frames
from pipelines.errors import VideoError
from pipelines.gops import cut
from pipelines.plan import ClipPlan, Planner, batch_positions
from pipelines.pool import Pool
from pipelines.strong import IDENTITY, PHOTOMETRIC, Strong
from pipelines.weak import evaluation_boxes

BACKENDS = ("cpu", "gpu")
MAX_ATTEMPTS = 32
"""Replacements tried for one broken video before giving up: more broken ones in a row are no accident."""

BOX, AFFINE, CUTOUT, OPS = slice(0, 4), slice(4, 11), slice(11, 15), 15
"""Where a view's parameters lie in its row: box; whether to warp and the affine map; Cutout; (operation, value)s."""
OP_CODES = {name: code for code, name in enumerate(("identity", *PHOTOMETRIC))}


class _EndsWithTrainer:
    """What a reading process receives by pickle; from then on it ends with the trainer."""

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        end_with_parent()


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainSource(_EndsWithTrainer):
    """Sample number -> (media, parameters, ids, problems); media as `fetch` gives it.

    Called by DALI's external_source with a SampleInfo. `first_micro_step` is where training stands.
    `broken` holds videos (pool indices) known not to decode.
    """

    planner: Planner
    backend: str
    batch_size: int
    first_micro_step: int = 0
    rank: int = 0
    num_ranks: int = 1
    broken: dict[int, str] = field(default_factory=dict)  # grows as this process meets broken ones

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
                media = fetch(self.planner.pool, plan.video, plan.frames, self.backend, self.broken)
            except VideoError as error:
                self.broken[plan.video] = str(error)
                problems.append((self.planner.pool.paths[plan.video], str(error)))
                continue
            label = int(self.planner.pool.labels[plan.video])
            ids = np.array([position, plan.video, label], dtype=np.int64)
            return *media, parameters(plan), ids, encode_problems(problems)
        raise RuntimeError(f"no decodable video in {MAX_ATTEMPTS} tries at position {position}: {problems[-1]}")


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationSource(_EndsWithTrainer):
    """Sample number -> all clips of one video: (media, boxes, ids, problems); media as `fetch` gives it.

    Clips are `num_clips` equally spaced ones from the first frame to the last, of each shape in turn.
    """

    pool: Pool
    shapes: tuple
    short_videos: str
    num_clips: int
    num_crops: int
    backend: str
    rank: int = 0
    num_ranks: int = 1
    broken: dict[int, str] = field(default_factory=dict)

    def __call__(self, info) -> tuple[np.ndarray, ...]:
        return self.sample((info.idx_in_epoch * self.num_ranks + self.rank) % len(self.pool))

    def sample(self, video: int) -> tuple[np.ndarray, ...]:
        """The arrays of one video. A broken one is named and marked by id -1, and never counted in a result: a
        neighbour stands in for it, so that the batch keeps its shape."""
        problems: list[tuple[str, str]] = []
        for attempt in range(MAX_ATTEMPTS):
            shown = (video + attempt) % len(self.pool)
            frames = evaluation_frames(self, int(self.pool.num_frames[shown]))
            try:
                media = fetch(self.pool, shown, frames, self.backend, self.broken)
            except VideoError as error:
                self.broken[shown] = str(error)
                problems.append((self.pool.paths[shown], str(error)))
                continue
            boxes = evaluation_boxes(
                self.num_crops, width=int(self.pool.width[shown]), height=int(self.pool.height[shown])
            )
            ids = np.array([video, shown if attempt == 0 else -1, int(self.pool.labels[video])], dtype=np.int64)
            return *media, np.array(boxes, dtype=np.float32), ids, encode_problems(problems)
        raise RuntimeError(f"no decodable video in {MAX_ATTEMPTS} tries at video {video}: {problems[-1]}")


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


def fetch(pool: Pool, video: int, frames: np.ndarray, backend: str, broken: dict[int, str]) -> tuple[np.ndarray, ...]:
    """What the graph's decode stage starts from.

    cpu: the frames themselves, (F, H, W, 3) uint8, decoded here. gpu: the GOPs that hold them, cut out of the file as
    bytes, and the frames' indices (F,) int32 in the cut, for NVDEC in the graph.
    Raises VideoError with the reason where the video is broken, now or earlier.
    """
    if video in broken:
        raise VideoError(broken[video])
    path = pool.paths[video]
    if backend == "gpu":
        made = cut(path, frames, exact_seek=bool(pool.exact_seek[video]))
        return np.frombuffer(made.content, dtype=np.uint8), made.frames
    clip = decode_frames(path, frames, exact_seek=bool(pool.exact_seek[video]))
    expected = (int(pool.height[video]), int(pool.width[video]))
    if clip.shape[1:3] != expected:
        raise VideoError(f"frames are {clip.shape[1:3]} pixels, the manifest says {expected}: the file changed")
    return (clip,)


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
