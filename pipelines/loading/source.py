"""Where the path of a clip starts: plan -> sample, one video a call, in a worker or in the trainer's own process.

Everything that a batch needs of a video comes from here; below it there is no randomness. Neither torch nor DALI is
imported, so that workers stay small. What is fetched of a video is said by `Media`.
"""

import dataclasses
import functools
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from pipelines.catalog.pool import Pool
from pipelines.errors import FileError, LoaderError, VideoError
from pipelines.loading.nvdec import OnCpu
from pipelines.loading.parameters import parameters
from pipelines.loading.sample import CutMedia, Frames, Ids, Media, MixedMedia, Sample
from pipelines.plan.boxes import StoredBox, evaluation_boxes, stored_box
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import ClipPlan, Planner, Stream, batch_positions
from pipelines.plan.rand_augment import Strong
from pipelines.problems import SHOWN_DAMAGED
from pipelines.ranges import range_of
from pipelines.video.cut import cut
from pipelines.video.frames import DecodingNotes, check_size, decode_frames
from pipelines.views.flow import flow_view, require_opencv
from pipelines.views.held import HeldPictures
from pipelines.views.make import View, make_views, views_of_planes

MAX_ATTEMPTS = 32
"""Replacements tried for one broken video before giving up: more broken ones in a row are no accident."""


class SampleInfo(Protocol):
    """What DALI's external_source says of the sample that it wants."""

    iteration: int
    idx_in_batch: int


class BatchSource(Protocol):
    """What graphs and workers ask of a source."""

    @property
    def media(self) -> Media: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def view_shapes(self) -> tuple[tuple[int, ...], ...]: ...
    def __call__(self, info: SampleInfo) -> tuple[np.ndarray, ...]: ...


class Source(BatchSource, Protocol):
    """A source over a pool, which can begin again at any batch with other videos left to the workers."""

    @property
    def pool(self) -> Pool: ...
    @property
    def on_cpu(self) -> OnCpu: ...
    def samples(self, iteration: int) -> Iterator[Sample]: ...
    def after(self, num_batches: int) -> Self: ...
    def with_on_cpu(self, known: OnCpu) -> Self: ...


class _EndsWithTrainer:
    """Received by a worker as a pickle. From then on the worker ends with its trainer."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        end_with_parent()


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainSource(_EndsWithTrainer):
    """The samples of one training stream, of one rank.

    `first_micro_step` is where training stands. `on_cpu` counts with mixed media alone. `broken` is this process's
    memory of the files (pool indices) that cannot be used at all, with reasons: it grows. A video some of whose frames
    do not decode is not in it: whether a clip of it decodes must not depend on the clips before. Where the pictures of
    all videos fit into `held_bytes`, `held` keeps those that were decoded, for finished views.
    """

    planner: Planner
    media: Media
    batch_size: int
    first_micro_step: int = 0
    rank: int = 0
    num_ranks: int = 1
    on_cpu: OnCpu = field(default_factory=OnCpu)
    held_bytes: int = 0
    broken: dict[int, str] = field(default_factory=dict)
    held: HeldPictures = field(default_factory=HeldPictures)

    def __post_init__(self) -> None:
        object.__setattr__(self, "media", Media(self.media))
        object.__setattr__(self, "held_bytes", self.pool.bytes_held(most=self.held_bytes))
        if self.media is Media.VIEWS and self.planner.geometry.flow:
            require_opencv(self.planner.geometry.crop_size)

    @property
    def pool(self) -> Pool:
        """The stream's videos."""
        return self.planner.pool

    @property
    def view_shapes(self) -> tuple[tuple[int, ...], ...]:
        """(F, S, S, 3) of each view of a video: standard ones, or weak and then strong ones; one a network, and flow
        behind the auxiliary's."""
        geometry = self.planner.geometry
        num_frames = [clip.num_frames for clip in geometry.shapes]
        if geometry.flow:
            num_frames.append(num_frames[1] // 2)
        kinds = 1 if self.planner.stream == Stream.LABELED else 2
        return tuple((frames, geometry.crop_size, geometry.crop_size, 3) for frames in num_frames) * kinds

    def after(self, num_batches: int) -> Self:
        """The same source so many batches later."""
        return dataclasses.replace(self, first_micro_step=self.first_micro_step + num_batches)

    def with_on_cpu(self, known: OnCpu) -> Self:
        """The same source, with some videos decoded by the workers."""
        return dataclasses.replace(self, media=Media.MIXED, on_cpu=known)

    def samples(self, iteration: int) -> Iterator[Sample]:
        """The samples of a batch, one by one."""
        return map(self.sample, self.positions(iteration))

    def __call__(self, info: SampleInfo) -> tuple[np.ndarray, ...]:
        return self.sample_at(info.iteration, info.idx_in_batch).as_arrays()

    def sample_at(self, iteration: int, place: int) -> Sample:
        """The sample at a place of a batch, `iteration` micro-steps after the first."""
        return self.sample(self.positions(iteration)[place])

    def path_at(self, iteration: int, place: int) -> str:
        """The path of the video that is planned there."""
        return self.pool.paths[self.planner.plan(self.positions(iteration)[place]).video]

    def positions(self, iteration: int) -> range:
        """The positions of this rank's batch, `iteration` micro-steps after the first."""
        return batch_positions(
            self.first_micro_step + iteration,
            batch_size=self.batch_size,
            rank=self.rank,
            num_ranks=self.num_ranks,
        )

    def sample(self, position: int) -> Sample:
        """The video at a position, or its first replacement that decodes.

        Raises LoaderError where MAX_ATTEMPTS videos in a row do not.
        """
        problems: list[tuple[str, str]] = []
        for attempt in range(MAX_ATTEMPTS):
            with range_of("loader: plan"):
                plan, notes = self.planner.plan(position, attempt=attempt), DecodingNotes()
            path = self.pool.paths[plan.video]
            try:
                with range_of("loader: views of a video"):
                    media, rows = self._fetch(plan, position, notes)
            except VideoError as error:
                if isinstance(error, FileError):
                    self.broken[plan.video] = str(error)
                problems.append((path, str(error)))
                continue
            if notes.num_damaged:
                problems.append((path, SHOWN_DAMAGED))
            ids = Ids(number=position, video=plan.video, label=int(self.pool.labels[plan.video]))
            return Sample(media, rows, ids, tuple(problems))
        raise none_decodes(f"{self.planner.stream.name.lower()} videos", problems)

    def _fetch(
        self, plan: ClipPlan, position: int, notes: DecodingNotes
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray | None]:
        if self.media is Media.VIEWS:
            views = fetch_views(self, plan.video, self.views(plan), notes=notes)
            return with_flow(views, self.planner.geometry), None
        media = fetch(self, plan.video, plan.frames, number=position, notes=notes)
        return media, parameters(plan, self.pool.picture(plan.video))

    def views(self, plan: ClipPlan) -> list[View]:
        """What this stream shows of a video: standard views, or weak and then strong ones; one a network."""
        size, picture = self.planner.geometry.crop_size, self.pool.picture(plan.video)
        boxes = [stored_box(view.box, picture) for view in plan.views]
        if self.planner.stream == Stream.LABELED:
            return [view_of(view.frames, box, size=size) for view, box in zip(plan.views, boxes, strict=True)]
        weak = stored_box(plan.weak, picture)
        return [view_of(view.frames, weak, size=size) for view in plan.views] + [
            view_of(view.frames, box, size=size, strong=view.strong)
            for view, box in zip(plan.views, boxes, strict=True)
        ]


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationSource(_EndsWithTrainer):
    """The samples of an evaluation, of one rank: all clips of a video, once.

    A view is one crop of all clips: `num_clips` equally spaced ones from the first frame to the last, of each shape
    in turn.
    """

    pool: Pool
    shapes: tuple[ClipShape, ...]
    short_videos: str
    num_clips: int
    num_crops: int
    crop_size: int
    media: Media
    batch_size: int
    first_batch: int = 0
    rank: int = 0
    num_ranks: int = 1
    on_cpu: OnCpu = field(default_factory=OnCpu)
    broken: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "media", Media(self.media))

    @property
    def view_shapes(self) -> tuple[tuple[int, ...], ...]:
        """(F, S, S, 3) of each view of a video: one a crop, of all frames of all clips."""
        num_frames = self.num_clips * sum(shape.num_frames for shape in self.shapes)
        return ((num_frames, self.crop_size, self.crop_size, 3),) * self.num_crops

    def after(self, num_batches: int) -> Self:
        """The same source so many batches later."""
        return dataclasses.replace(self, first_batch=self.first_batch + num_batches)

    def with_on_cpu(self, known: OnCpu) -> Self:
        """The same source, with some videos decoded by the workers."""
        return dataclasses.replace(self, media=Media.MIXED, on_cpu=known)

    def samples(self, iteration: int) -> Iterator[Sample]:
        """The samples of a batch, one by one."""
        return (self.sample(self._video(iteration, k)) for k in range(self.batch_size))

    def __call__(self, info: SampleInfo) -> tuple[np.ndarray, ...]:
        return self.sample_at(info.iteration, info.idx_in_batch).as_arrays()

    def sample_at(self, iteration: int, place: int) -> Sample:
        """The sample at a place of a batch, so many batches after the first."""
        return self.sample(self._video(iteration, place))

    def path_at(self, iteration: int, place: int) -> str:
        """The path of the video that is asked for there."""
        return self.pool.paths[self._video(iteration, place)]

    def _video(self, iteration: int, place: int) -> int:
        """What a place of a batch shows; the last batch is filled up from the front."""
        number = (self.first_batch + iteration) * self.batch_size + place
        return (number * self.num_ranks + self.rank) % len(self.pool)

    def sample(self, video: int) -> Sample:
        """One video. For a broken one a neighbor stands in, so that the batch keeps its shape; `Ids.stands_in` says so,
        and it is never counted in a result."""
        problems: list[tuple[str, str]] = []
        for attempt in range(MAX_ATTEMPTS):
            shown, notes = (video + attempt) % len(self.pool), DecodingNotes()
            try:
                media, boxes = self._fetch(shown, notes)
            except VideoError as error:
                self.broken[shown] = str(error)  # it is asked for the same frames each time
                problems.append((self.pool.paths[shown], str(error)))
                continue
            if notes.num_damaged:
                problems.append((self.pool.paths[shown], SHOWN_DAMAGED))
            ids = Ids(number=video, video=shown, label=int(self.pool.labels[video]), stands_in=int(attempt > 0))
            return Sample(media, boxes, ids, tuple(problems))
        raise none_decodes("evaluation's videos", problems)

    def _fetch(self, video: int, notes: DecodingNotes) -> tuple[tuple[np.ndarray, ...], np.ndarray | None]:
        frames = evaluation_frames(self, int(self.pool.num_frames[video]))
        picture = self.pool.picture(video)
        upright = evaluation_boxes(self.num_crops, width=picture.width, height=picture.height)
        boxes = [stored_box(box, picture) for box in upright]
        if self.media is Media.VIEWS:
            views = [view_of(frames, box, size=self.crop_size) for box in boxes]
            return fetch_views(self, video, views, notes=notes), None
        return fetch(self, video, frames, number=video, notes=notes), np.array(boxes, dtype=np.float32)


def none_decodes(kind: str, problems: list[tuple[str, str]]) -> LoaderError:
    """What to tell the user where no replacement decodes either. problems: (path, reason) of each that was tried."""
    path, reason = problems[-1]
    number = len({path for path, _ in problems})
    return LoaderError(f"{kind}: {number} in a row cannot be decoded; the last: {path}: {reason}", problems=problems)


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


def fetch(
    source: TrainSource | EvaluationSource, video: int, frames: np.ndarray, *, number: int, notes: DecodingNotes
) -> Frames | CutMedia | MixedMedia:
    """Fetches what the graph's decode stage starts from: frames, a cut, or one of both.

    `frames` (F,) are presentation indices, `number` the sample's in its stream. `notes` are added
    to; a cut is not decoded here, so nothing is known of it.
    Raises VideoError with the reason where the video is broken, now or earlier.
    """
    if video in source.broken:
        raise FileError(source.broken[video])
    if source.media is Media.FRAMES:
        return decoded(source.pool, video, frames, notes=notes)
    if source.media is Media.CUTS:
        return cut_of(source.pool, video, frames)
    if source.on_cpu.holds(source.pool, video, number=number):
        return MixedMedia.of_frames(decoded(source.pool, video, frames, notes=notes))
    return MixedMedia.of_cut(cut_of(source.pool, video, frames))


def decoded(pool: Pool, video: int, frames: np.ndarray, *, notes: DecodingNotes) -> Frames:
    """Decodes frames here, each once. Raises VideoError, also where their size is not the probed one."""
    indices, order = np.unique(frames, return_inverse=True)
    clip = decode_frames(pool.paths[video], indices, exact_seek=bool(pool.exact_seek[video]), notes=notes)
    check_size(clip.shape[2], clip.shape[1], picture_size(pool, video))
    return Frames.of(clip, order)


def cut_of(pool: Pool, video: int, frames: np.ndarray) -> CutMedia:
    """Cuts the needed GOPs out of the file. Raises VideoError where it cannot be read."""
    made = cut(pool.paths[video], frames, exact_seek=bool(pool.exact_seek[video]), for_nvdec=True)
    return CutMedia.of(made.content, made.frames)


def fetch_views(
    source: TrainSource | EvaluationSource, video: int, views: list[View], *, notes: DecodingNotes
) -> tuple[np.ndarray, ...]:
    """Makes each view, (F, S, S, 3) uint8. Raises VideoError as `fetch` does."""
    if video in source.broken:
        raise FileError(source.broken[video])
    pool = source.pool
    path, exact_seek, size = pool.paths[video], bool(pool.exact_seek[video]), picture_size(pool, video)
    if isinstance(source, TrainSource) and source.held_bytes:
        num_frames = int(pool.num_frames[video])
        planes = source.held.planes(path, num_frames=num_frames, picture_size=size, exact_seek=exact_seek)
        if planes is not None:
            return tuple(views_of_planes(planes, views))
    return tuple(make_views(path, views, exact_seek=exact_seek, picture_size=size, notes=notes))


def with_flow(views: tuple[np.ndarray, ...], geometry: Geometry) -> tuple[np.ndarray, ...]:
    """The views of a video, and where it is asked for, the optical flow of each auxiliary one's pairs behind it."""
    if not geometry.flow:
        return views
    return tuple(view for k in range(0, len(views), 2) for view in (views[k], views[k + 1], flow_view(views[k + 1])))


def picture_size(pool: Pool, video: int) -> tuple[int, int]:
    """Returns (width, height) of a video's stored pictures in pixels, as probed."""
    picture = pool.picture(video)
    return picture.stored_width, picture.stored_height


def view_of(frames: np.ndarray, box: StoredBox, *, size: int, strong: Strong | None = None) -> View:
    """Returns the view of a box of the stored picture."""
    *sides, transposed = box
    top, left, bottom, right = sides
    return View(frames=frames, box=(top, left, bottom, right), size=size, strong=strong, transposed=bool(transposed))


@functools.cache
def end_with_parent() -> None:
    """Ends this worker when its trainer ends, also by a kill; without this it would wait for ever."""
    trainer = multiprocessing.parent_process()
    if trainer is None:
        return

    def wait_and_end() -> None:
        multiprocessing.connection.wait([trainer.sentinel])
        os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()
