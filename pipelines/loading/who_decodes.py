"""Who decodes where there is NVDEC: it, the workers, or both, each a share of the videos that takes them as long.

DALI's decoder made 77 to 90 videos a second on an H100, whatever the threads and the files, and 15 workers there 139
of originals and 444 of intra files (benchmarks/results/gpu_suite_h100.json). With few cores or large pictures it is
the other way round. So a loader tries both, for a few seconds, on the videos that it will show first.
"""

import dataclasses
import itertools
import logging
import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from pipelines.catalog.pool import Pool
from pipelines.loading.engine import Engine
from pipelines.loading.nvdec import on_cpu
from pipelines.loading.sample import CutMedia, Media, Sample
from pipelines.loading.source import EvaluationSource, TrainSource, end_with_parent
from pipelines.loading.workers import interrupts_ignored

log = logging.getLogger(__name__)

S = TypeVar("S", TrainSource, EvaluationSource)
NUM_BY_WORKERS, NUM_BY_NVDEC, NUM_ROUNDS = 4, 16, 3
"""Videos that a trial decodes here, as a worker would, and on NVDEC at once; how often NVDEC does."""
LEAST_EVALUATED = 32
"""Fewest videos of an evaluation, a rank, that are worth a trial."""
MOST_BYTES = 1 << 30
"""Most bytes of frames that NVDEC decodes at once in a trial: whole videos of an evaluation are large."""
LEAST_SHARE, MOST_SHARE = 0.1, 0.8
"""A smaller share is not worth having two at it: sharing costs an eighth of the sum of both (on the H100)."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Videos a second of all workers together, and of NVDEC; None where it decoded nothing."""

    workers: float
    nvdec: float | None
    problem: str | None = None

    @property
    def cpu_share(self) -> float:
        """Share of the videos that the workers decode: 0, 1, or one with which both end together."""
        if self.nvdec is None:
            return 1.0
        share = self.workers / (self.workers + self.nvdec) if self.workers else 0.0
        return 0.0 if share < LEAST_SHARE else 1.0 if share > MOST_SHARE else share

    def line(self) -> str:
        """In words."""
        if self.workers == 0:
            return f"decoding: by NVDEC, as {self.problem}"
        if self.nvdec is None:
            return f"decoding: by the workers, as NVDEC failed in a trial: {self.problem}"
        who = {0.0: "by NVDEC", 1.0: "by the workers"}.get(
            self.cpu_share, f"{self.cpu_share:.0%} of the videos by the workers, the others by NVDEC"
        )
        return f"decoding: {who} (a trial: {self.workers:.3g} videos/s by the workers, {self.nvdec:.3g} by NVDEC)"


def settled(source: S, engine: Engine) -> tuple[S, Engine]:
    """The source and its engine with the workers' share decided: by a trial, where the engine leaves it open.

    Where the workers decode all, the media are frames. Says what was decided, once.
    Raises LoaderError where no video decodes.
    """
    if engine.cpu_share is not None:
        return source, engine
    share = 0.0
    if engine.media is Media.CUTS and engine.num_workers and _is_worth_it(source):
        paths = source.pool.paths
        key = (type(source), source.view_shapes, engine, len(paths), paths[0], paths[-1])
        if key not in _KNOWN:
            _KNOWN[key] = measured(source, engine)
            log.warning(_KNOWN[key].line())
        share = _KNOWN[key].cpu_share
    if share == 1:
        engine = dataclasses.replace(engine, media=Media.FRAMES, cpu_share=0.0)
        return dataclasses.replace(source, media=Media.FRAMES), engine
    return source, dataclasses.replace(engine, cpu_share=share)


def _is_worth_it(source: TrainSource | EvaluationSource) -> bool:
    """Whether a trial may be repaid: an evaluation of few videos is over before it."""
    return isinstance(source, TrainSource) or len(source.pool) >= LEAST_EVALUATED * source.num_ranks


_KNOWN: dict[tuple[object, ...], Rates] = {}
"""Trials of this process: every validation asks for the same."""


def measured(source: TrainSource | EvaluationSource, engine: Engine) -> Rates:
    """Decodes some of the source's first videos both ways. Those that NVDEC is known not to take are left out.

    What workers do is done in a process of its own, as a file may end one. Raises LoaderError where no video decodes.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as child:
        try:
            with interrupts_ignored():  # by the child
                answer = child.submit(as_a_worker, source, engine.decoder)
            by_worker, cuts = answer.result()
        except BrokenProcessPool:
            return Rates(workers=0.0, nvdec=math.inf, problem="a worker ended at one of the first videos")
    if by_worker is None:
        return Rates(workers=math.inf, nvdec=None, problem="it takes none of the first videos")
    workers = engine.num_workers * by_worker
    try:
        return Rates(workers=workers, nvdec=len(cuts) / _seconds_on_nvdec(cuts, engine))
    except (RuntimeError, MemoryError) as error:  # DALI tells a full card by either
        said = [line for line in str(error).strip().splitlines() if "no longer valid" not in line]
        return Rates(workers=workers, nvdec=None, problem=(said or ["no reason"])[-1][:200])


def as_a_worker(source: TrainSource | EvaluationSource, decoder: str) -> tuple[float | None, list[CutMedia]]:
    """What one worker does in a trial: (videos a second that it decodes; None where NVDEC takes none of the first
    ones, cuts for NVDEC)."""
    decoded = _first_samples(dataclasses.replace(source, media=Media.FRAMES, broken={}), decoder)
    next(decoded, None)  # imports, and fills caches
    begin = time.perf_counter()
    num_decoded = sum(1 for _ in itertools.islice(decoded, NUM_BY_WORKERS))
    seconds = time.perf_counter() - begin
    if not num_decoded:
        return None, []
    cuts = _first_samples(dataclasses.replace(source, media=Media.CUTS, broken={}), decoder)
    return num_decoded / seconds, list(_that_fit(cuts, source.pool))


def _first_samples(source: TrainSource | EvaluationSource, decoder: str) -> Iterator[Sample]:
    """The samples of the first batches, as many as a trial may look at, of videos that the graph's decoder takes."""
    others = on_cpu(source.pool, decoder=decoder)
    batches = range(-(-2 * NUM_BY_NVDEC // source.batch_size))
    samples = itertools.chain.from_iterable(map(source.samples, batches))
    return (made for made in samples if not others.must(source.pool, made.ids.video))


def _that_fit(samples: Iterator[Sample], pool: Pool) -> Iterator[CutMedia]:
    """As many cuts as a trial wants and memory allows; one at least."""
    num_bytes = 0
    for made in itertools.islice(samples, NUM_BY_NVDEC):
        cut, picture = CutMedia(*made.media), pool.picture(made.ids.video)
        more = len(cut.indices) * picture.stored_width * picture.stored_height * 3
        if num_bytes and num_bytes + more > MOST_BYTES:
            return
        num_bytes += more
        yield cut


def _seconds_on_nvdec(cuts: Sequence[CutMedia], engine: Engine) -> float:
    """Seconds in which the graph's decoder decodes all of these, once it runs. Raises RuntimeError where it fails."""
    import torch

    from pipelines.loading.graph import decoding_graph, end

    pipeline = decoding_graph(cuts, engine=dataclasses.replace(engine, prefetch_batches=1))
    try:
        for number in range(2 + NUM_ROUNDS):
            if number == 2:  # NVDEC's decoders are made by now
                begin = time.perf_counter()
            pipeline.run()
        if engine.device_index is not None:
            torch.cuda.synchronize(engine.device_index)
        return (time.perf_counter() - begin) / NUM_ROUNDS
    finally:
        end(pipeline)
