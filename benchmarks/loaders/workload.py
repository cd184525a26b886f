"""The frozen list of clips that loaders are compared on, and the runners that go through it.

Workers import this file: neither torch nor DALI is imported here but where they are used.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np

from benchmarks.loaders.decoders import OURS, Setup, Video, begin_worker
from benchmarks.usage import usage
from pipelines.catalog.manifest import open_manifest
from pipelines.catalog.pool import Pool, pool_of
from pipelines.loading.parameters import parameters
from pipelines.loading.sample import Frames, Ids, Media, Sample
from pipelines.loading.source import TrainSource, picture_size
from pipelines.plan.geometry import Geometry
from pipelines.plan.planner import Planner, Stream
from pipelines.views.make import views_of

if TYPE_CHECKING:
    from pipelines.loading.engine import Engine

GEOMETRY = Geometry(max_offset_seconds=10.0)
"""The paper's: 8x8 and 16x4 frames of 224 pixels, up to ten seconds apart (Sec. 4.1)."""
BATCH_SIZE = 4
"""Videos of a batch on a CPU; a GPU's table has its own."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The frozen list over files of one kind: positions 0 to `num_samples` - 1 of the plan."""

    planner: Planner
    num_samples: int
    batch_size: int = BATCH_SIZE

    def job(self, position: int) -> tuple[Video, np.ndarray]:
        """Gives what a decoder is asked for: a file and frame indices (F,)."""
        plan = self.planner.plan(position)
        return video_of(self.planner.pool, plan.video), plan.frames

    def jobs(self, num: int | None = None) -> list[tuple[Video, np.ndarray]]:
        """Gives the jobs of the first `num` positions, or of all."""
        return [self.job(position) for position in range(min(num or self.num_samples, self.num_samples))]


def workload_of(
    paths: Sequence[Path], *, num_samples: int, geometry: Geometry = GEOMETRY, batch_size: int = BATCH_SIZE
) -> Workload:
    """Plans over these files, always in the same way: whole batches, so maybe a few samples more."""
    root = paths[0].parent
    manifest = open_manifest(
        root, [path.name for path in paths], np.zeros(len(paths), np.int64), cache_dir=root / "manifests"
    )
    pool = pool_of((manifest, manifest.usable))
    planner = Planner(pool=pool, seed=0, stream=Stream.UNLABELED, geometry=geometry)
    num_samples = -(-num_samples // batch_size) * batch_size
    return Workload(planner=planner, num_samples=num_samples, batch_size=batch_size)


def video_of(pool: Pool, index: int) -> Video:
    """Returns one video of a pool, as loaders are told of it."""
    return Video(path=pool.paths[index], fps=float(pool.fps[index]), exact_seek=bool(pool.exact_seek[index]))


@dataclass(frozen=True, eq=False, kw_only=True)
class FrozenSource(TrainSource):
    """The frozen list over and over, decoded by `setup`'s loader.

    Frames of another loader go to DALI's operators, or become views by this project's code (`media`).
    """

    setup: Setup
    num_samples: int

    def sample(self, position: int) -> Sample:
        """Makes one video of the list."""
        position %= self.num_samples
        if self.setup.loader == OURS:
            return super().sample(position)
        plan = self.planner.plan(position)
        ids = Ids(number=position, video=plan.video, label=-1)
        video = video_of(self.planner.pool, plan.video)
        if self.media is Media.FRAMES:
            return Sample(
                Frames.of(self.setup.decode(video, plan.frames)),
                parameters(plan, self.planner.pool.picture(plan.video)),
                ids,
            )
        wanted = np.unique(plan.frames)
        clip = np.ascontiguousarray(self.setup.decode(video, wanted))
        decoded = ((k, av.VideoFrame.from_numpy_buffer(frame, format="rgb24")) for k, frame in enumerate(clip))
        size = picture_size(self.planner.pool, plan.video)
        return Sample(tuple(views_of(decoded, self.views(plan), wanted, picture_size=size)), None, ids)


class DecodeRunner:
    """Decodes frames and drops them, in workers that stay from round to round.

    `setup` may be exchanged for one with as many workers and threads."""

    def __init__(self, setup: Setup, workload: Workload) -> None:
        self.setup, self._jobs, self.num_samples = setup, workload.jobs(), workload.num_samples
        self._pool = ProcessPoolExecutor(
            setup.num_workers, mp_context=get_context("spawn"), initializer=begin_worker, initargs=(setup,)
        )
        self._run(self._jobs[: 2 * setup.num_workers])

    def round(self, num_samples: int | None = None) -> tuple[float, float]:
        """Gives the seconds and processor seconds of the whole list, or of the first samples."""
        return timed(lambda: self._run(self._jobs[:num_samples]))

    def frames(self, num_samples: int) -> list[np.ndarray]:
        """Decodes the first samples."""
        return [self._pool.submit(_decode, self.setup, job).result() for job in self._jobs[:num_samples]]

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown()

    def _run(self, jobs: Sequence[tuple[Video, np.ndarray]]) -> None:
        for future in [self._pool.submit(_decode_and_drop, self.setup, job) for job in jobs]:
            future.result()


def _decode(setup: Setup, job: tuple[Video, np.ndarray]) -> np.ndarray:
    return setup.decode(*job)


def _decode_and_drop(setup: Setup, job: tuple[Video, np.ndarray]) -> None:
    setup.decode(*job)


class Batched(Protocol):
    """Gives batches, which a runner drops."""

    def next(self) -> object: ...
    def close(self) -> None: ...


class BatchRunner:
    """Takes the batches of a source that repeats the list, as the trainer takes them, and drops them."""

    def __init__(self, batches: Batched, workload: Workload, *, engine: "Engine") -> None:
        self._batches, self._engine, self.num_samples = batches, engine, workload.num_samples
        self._num_batches = workload.num_samples // workload.batch_size
        self._take(self._num_batches)

    def round(self) -> tuple[float, float]:
        """Gives the seconds and processor seconds of the whole list, in the steady state: batches that were made ahead
        while others were measured go first."""
        self._take(self._engine.prefetch_batches + 1)
        measured = timed(lambda: self._take(self._num_batches))
        wait_until_idle()
        return measured

    def close(self) -> None:
        """Ends the batches' processes."""
        self._batches.close()

    def _take(self, num_batches: int) -> None:
        for _ in range(num_batches):
            self._batches.next()
        if self._engine.device_index is not None:
            import torch

            torch.cuda.synchronize(self._engine.device_index)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Gives the seconds on the clock, and those of processor time in this process and its children."""
    cpu_before, begin = usage().cpu_seconds, time.perf_counter()
    work()
    return time.perf_counter() - begin, usage().cpu_seconds - cpu_before


def whole_runner(setup: Setup, workload: Workload, *, media: str, num_cores: int) -> BatchRunner:
    """Starts a loader up to finished views.

    media: with views, workers make them by this project's code. With frames, DALI's CPU operators make them behind
    another decoder, and this project makes them in its workers.
    """
    from pipelines.loading.batches import batches_of  # not above: every decoding process imports this file
    from pipelines.loading.engine import Engine

    chosen = Media.VIEWS if setup.loader == OURS else Media(media)
    engine = Engine(media=chosen, num_workers=setup.num_workers, num_threads=num_cores)
    source = FrozenSource(
        planner=workload.planner,
        media=chosen,
        batch_size=workload.batch_size,
        setup=setup,
        num_samples=workload.num_samples,
    )
    return BatchRunner(batches_of(source, engine=engine), workload, engine=engine)


def wait_until_idle(*, least_seconds: float = 0.1, most_seconds: float = 10.0) -> None:
    """Waits until this process and its children do nothing: batches made ahead must not slow the next loader."""
    end, before = time.monotonic() + most_seconds, usage().cpu_seconds
    while time.monotonic() < end:
        time.sleep(least_seconds)
        now = usage().cpu_seconds
        if now - before <= 0.02:  # the clock's ticks, and this loop itself
            return
        before = now
