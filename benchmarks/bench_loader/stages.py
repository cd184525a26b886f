"""Measures each stage of a clip's path alone: read, cut, decode, augment, hand-off.

They run in this process, from the page cache, and take turns over the same few batches. `bench_loader.rows` has the
legend.
"""

import contextlib
import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from torch import Tensor

from benchmarks.bench_loader.rows import STAGES, Row, row_of
from benchmarks.decode_work import DecodeWork, decode_work
from benchmarks.replay import ReplaySource
from cmpl.config import Config
from cmpl.registries import method_class
from pipelines.loading.batches import ViewBatches, batch_of
from pipelines.loading.engine import Engine
from pipelines.loading.nvdec import OnCpu, on_cpu
from pipelines.loading.parameters import parameters
from pipelines.loading.sample import CutMedia, Frames, Ids, Media, Sample
from pipelines.loading.source import TrainSource, picture_size
from pipelines.plan.planner import ClipPlan, Planner
from pipelines.problems import set_aside
from pipelines.video.cut import cut
from pipelines.video.frames import decode_each, decode_frames
from pipelines.views.make import views_of, wanted_frames

if TYPE_CHECKING:
    from nvidia.dali.pipeline import Pipeline

    from pipelines.loading.operators import Node

NUM_BATCHES = 4
"""Different batches that are timed, in turn."""
MIN_REPEATS = 3
LEAST_SECONDS = 1e-7
"""Least seconds of a stage known by a difference, which noise may make negative."""


@dataclass
class Cost:
    """Time and bytes of one stage for one batch."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    num_bytes: int = 0


class Stopwatch:
    """The costs of one batch, by stage, and how many clips came out in the end."""

    def __init__(self) -> None:
        self.costs: defaultdict[str, Cost] = defaultdict(Cost)
        self.num_clips = 0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Cost]:
        """Adds what the block takes."""
        cost = self.costs[name]
        cpu, begin = time.process_time(), time.perf_counter()
        yield cost
        cost.seconds += time.perf_counter() - begin
        cost.cpu_seconds += time.process_time() - cpu


class StreamStages:
    """One stream's first batches, and its stages ready to run alone."""

    def __init__(self, planner: Planner, *, num_videos: int, engine: Engine) -> None:
        self._alone = alone = dataclasses.replace(engine, num_workers=0, prefetch_batches=1)
        left_out = on_cpu(planner.pool, decoder=engine.decoder) if engine.media is Media.CUTS else OnCpu()
        broken = {k: "not NVDEC's" for k in range(len(planner.pool)) if left_out.must(planner.pool, k)}
        source = TrainSource(planner=planner, media=Media.VIEWS, batch_size=num_videos, broken=broken)
        self.batches = [[plan_that_decodes(source, p) for p in source.positions(k)] for k in range(NUM_BATCHES)]
        self._pool, self._media, self._views_of_plan = planner.pool, engine.media, source.views
        self._source = ReplaySource(planner=planner, media=engine.media, batch_size=num_videos)
        self._graph = None if self._media is Media.VIEWS else whole_graph(self._source, engine=alone)
        self._decoder = decoding_graph(self._source, engine=alone) if self._media is Media.CUTS else None

    def run(self, batch: int, watch: Stopwatch) -> tuple[Tensor, ...]:
        """Takes one batch through all stages, one after another. Returns its views, each (B, F, S, S, 3)."""
        plans = self.batches[batch]
        paths = [self._pool.paths[plan.video] for plan in plans]
        exact = [bool(self._pool.exact_seek[plan.video]) for plan in plans]
        with watch.stage("read") as cost:
            files = [Path(path).read_bytes() for path in paths]
        cost.num_bytes += sum(map(len, files))
        with watch.stage("cut") as cost:
            cuts = [cut(f, plan.frames, exact_seek=e) for f, plan, e in zip(files, plans, exact, strict=True)]
        cost.num_bytes += sum(len(made.content) for made in cuts)
        with watch.stage("decode") as cost:
            clips = [
                list(decode_each(f, np.unique(plan.frames), exact_seek=e))
                for f, plan, e in zip(files, plans, exact, strict=True)
            ]
        cost.num_bytes += sum(plane.buffer_size for clip in clips for _, picture in clip for plane in picture.planes)
        media: list[tuple[np.ndarray, ...]]
        if self._media is Media.VIEWS:
            with watch.stage("augment"):
                media = [self._views(plan, clip) for plan, clip in zip(plans, clips, strict=True)]
        elif self._media is Media.CUTS:
            media = [CutMedia.of(made.content, made.frames) for made in cuts]
        else:
            media = [
                Frames.of(decode_frames(f, plan.frames, exact_seek=e))
                for f, plan, e in zip(files, plans, exact, strict=True)
            ]
        self._source.batch[:] = [self._sample(plan, part) for plan, part in zip(plans, media, strict=True)]
        return self._hand_on(watch, decoded_bytes=cost.num_bytes)

    def _views(self, plan: ClipPlan, pictures: Sequence[tuple[int, av.VideoFrame]]) -> tuple[np.ndarray, ...]:
        views = self._views_of_plan(plan)
        size = picture_size(self._pool, plan.video)
        return tuple(views_of(pictures, views, wanted_frames(views), picture_size=size))

    def _sample(self, plan: ClipPlan, media: tuple[np.ndarray, ...]) -> Sample:
        ids = Ids(number=plan.position, video=plan.video, label=int(self._pool.labels[plan.video]))
        return Sample(
            media, None if self._media is Media.VIEWS else parameters(plan, self._pool.picture(plan.video)), ids
        )

    def _hand_on(self, watch: Stopwatch, *, decoded_bytes: int) -> tuple[Tensor, ...]:
        """Hands finished views over, or runs DALI's part.

        With NVDEC, augmentation is the whole graph less its decoding, each run alone.
        """
        if self._graph is None:
            with watch.stage("hand-off"):
                views = ViewBatches(self._source, engine=self._alone).next().views
        else:
            if self._decoder:
                with watch.stage("decode, NVDEC") as decoding:
                    self._decoder.run()
                decoding.num_bytes += decoded_bytes
            with watch.stage("augment"):
                outputs = self._graph.run()
            with watch.stage("hand-off"):
                views = batch_of(outputs).views
        watch.costs["augment"].num_bytes += sum(view.numel() for view in views)
        watch.num_clips += sum(map(len, views))
        return views

    def close(self) -> None:
        """Ends the graphs."""
        for pipeline in (self._graph, self._decoder):
            if pipeline is not None:
                from pipelines.loading.graph import end

                end(pipeline)


def plan_that_decodes(source: TrainSource, position: int) -> ClipPlan:
    """Returns the plan that training would use: for a broken video that of its replacement.

    Reads the file, which is in the page cache from then on.
    """
    return source.planner.plan(position, attempt=len(set_aside(dict(source.sample(position).problems))))


def whole_graph(source: ReplaySource, *, engine: Engine) -> "Pipeline":
    """Starts the graph of the source's stream."""
    from pipelines.loading.graph import training_graph  # not above: without a GPU nothing imports DALI

    return training_graph(source, engine=engine)


def decoding_graph(source: ReplaySource, *, engine: Engine) -> "Pipeline":
    """Starts a graph of the decode stage and nothing else."""
    from nvidia.dali import fn, pipeline_def

    from pipelines.loading.graph import decode, sample

    @pipeline_def(
        batch_size=source.batch_size,
        num_threads=engine.num_threads,
        device_id=engine.device_index,
        prefetch_queue_depth=1,
        exec_dynamic=True,
    )
    def graph() -> "tuple[Node, ...]":
        *media, parameters, ids, problems = sample(source, engine)
        return decode(media, source.media, engine), *(fn.copy(unused) for unused in (parameters, ids, problems))

    pipeline = graph()
    pipeline.build()
    return pipeline


def measure_stages(
    config: Config, plans: tuple[Planner, Planner], *, engine: Engine, seconds: float
) -> tuple[dict[str, Row], DecodeWork]:
    """Measures every stage that this back end has for about `seconds` in all. Returns its rows and the counted work."""
    parts = [(plans[0], config.batch.labeled)]
    if method_class(config.method.name).uses_unlabeled:
        parts.append((plans[1], config.batch.unlabeled))
    streams = [StreamStages(planner, num_videos=n, engine=engine) for planner, n in parts]
    num_videos = sum(n for _, n in parts)
    samples: list[dict[str, Cost]] = []
    begin = time.perf_counter()
    while len(samples) <= MIN_REPEATS or time.perf_counter() - begin < seconds:
        watch = Stopwatch()
        for stream in streams:
            stream.run(len(samples) % NUM_BATCHES, watch)
        samples.append(watch.costs)
    for stream in streams:
        stream.close()
    rows = stage_rows(samples[1:], num_videos=num_videos, clips_per_video=watch.num_clips / num_videos)
    pool_plans = [(p.pool, plan) for (p, _), s in zip(parts, streams, strict=True) for b in s.batches for plan in b]
    works = [decode_work(p.paths[c.video], c.frames, exact_seek=bool(p.exact_seek[c.video])) for p, c in pool_plans]
    return rows, sum(works, DecodeWork())


def stage_rows(samples: list[dict[str, Cost]], *, num_videos: int, clips_per_video: float) -> dict[str, Row]:
    """Makes one row a stage. On a GPU the graph's time holds NVDEC's, which is taken off: the costs are changed."""
    for stages in samples:
        if decoding := stages.get("decode, NVDEC"):
            augment = stages["augment"]
            augment.seconds = max(LEAST_SECONDS, augment.seconds - decoding.seconds)
            augment.cpu_seconds = max(0.0, augment.cpu_seconds - decoding.cpu_seconds)
    num_clips = num_videos * clips_per_video * len(samples)
    rows = {}
    for name in STAGES:
        if name in samples[0]:
            costs = [stages[name] for stages in samples]
            num_bytes = sum(cost.num_bytes for cost in costs)
            rows[name] = row_of(
                name,
                [cost.seconds for cost in costs],
                num_videos=num_videos,
                clips_per_video=clips_per_video,
                cpu_seconds_per_clip=sum(cost.cpu_seconds for cost in costs) / num_clips,
                bytes_per_clip=num_bytes / num_clips if num_bytes else None,
            )
    return rows
