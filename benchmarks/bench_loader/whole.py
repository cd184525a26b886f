"""Measures the whole loader, the trainer alone, and both together, with the configured workers."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from torch import Tensor

from benchmarks.bench_loader.rows import Measured, Row, row_of
from benchmarks.bench_loader.stages import MIN_REPEATS, measure_stages
from benchmarks.usage import DecoderMeter, gpu_memory_bytes, usage
from cmpl import build
from cmpl.config import Config
from cmpl.training.autotune import synchronize, timed_steps
from cmpl.training.identity import Identity
from cmpl.training.loop import Trainer
from cmpl.training.plan import plan_of, steps_of
from cmpl.training.ranks import Ranks
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import Runtime
from cmpl.training.switches import settle_switches
from pipelines.batch import SemiBatch
from pipelines.catalog.dataset import Dataset
from pipelines.loading.loader import SemiLoader
from pipelines.loading.nvdec import nvdec_problem
from pipelines.plan.planner import Planner

STEPS_PER_SAMPLE = {"cpu": 1, "cuda": 8}
"""A GPU is waited for once a sample; waiting after every step would let it idle in between."""


class Replayed:
    """A loader that gives one batch again and again."""

    wait_seconds = 0.0

    def __init__(self, batch: SemiBatch) -> None:
        self._batch = copied(batch)
        self.num_videos = batch.num_videos
        self.num_unlabeled = len(batch.unlabeled.truth) if batch.unlabeled is not None else 0
        self.problems: dict[str, str] = {}

    def __next__(self) -> SemiBatch:
        return self._batch

    def close(self) -> None:
        """Has nothing to end."""


Part = TypeVar("Part")
AnyLoader = SemiLoader | Replayed


def copied(batch: Part) -> Part:
    """Copies a batch into memory of its own, in the same memory order: the pipeline's buffers may go."""
    made: Any = batch
    if isinstance(batch, Tensor):
        made = batch.clone()
    elif dataclasses.is_dataclass(made) and not isinstance(
        made, type
    ):  # what else a batch may hold, such as names, is never written over
        fields = {item.name: copied(getattr(batch, item.name)) for item in dataclasses.fields(made)}
        made = dataclasses.replace(made, **fields)
    return made


def measure(
    config: Config, data: Dataset, *, runtime: Runtime, num_cores: int, seconds: float, note: Callable[[str], None]
) -> Measured:
    """Measures every row: about `seconds` for all stages together, and for each of the three whole runs.

    `note` is told what comes next. Workers have ended on return. No decoded pictures are held, so that what is measured
    is what a large data set costs.
    """
    config = dataclasses.replace(config, runtime=dataclasses.replace(config.runtime, held_mib=0))
    plans = build.planners(config, data)
    engine, meter = build.engine_of(config, runtime), DecoderMeter(runtime.device_index)
    note("each stage alone")
    rows, work = measure_stages(config, plans, engine=engine, seconds=seconds)
    whole = whole_rows(
        config,
        data,
        plans,
        runtime=runtime,
        seconds=seconds,
        clips_per_video=rows["augment"].clips_per_video,
        meter=meter,
        note=note,
    )
    rows |= {row.name: row for row in whole}
    return Measured(
        rows=rows,
        work=work,
        missing=reasons_missing(runtime, meter),
        media=engine.media,
        device=runtime.device.type,
        num_cores=num_cores,
        num_workers=runtime.num_workers,
        loader_threads=runtime.loader_threads,
        torch_threads=runtime.torch_threads,
        prefetch_batches=engine.prefetch_batches,
    )


def whole_rows(
    config: Config,
    data: Dataset,
    plans: tuple[Planner, Planner],
    *,
    runtime: Runtime,
    seconds: float,
    clips_per_video: float,
    meter: DecoderMeter,
    note: Callable[[str], None],
) -> Iterator[Row]:
    """Measures the loader, the trainer on one batch, and the trainer on the loader."""

    trainer = trainer_of(config, data, plans, runtime=runtime)
    halfway = len(plans[1].pool) // (2 * config.batch.unlabeled)  # files that no other row has brought into memory

    def loader_at(micro_step: int, runtime: Runtime = runtime) -> SemiLoader:
        return build.loader_of(config, plans, runtime=runtime, ranks=Ranks(), first_micro_step=micro_step)

    with loader_at(0, dataclasses.replace(runtime, num_workers=0)) as first:
        replayed = Replayed(next(first))

    def steps(loader: AnyLoader, num_steps: int) -> float:
        return timed_steps(trainer, loader, num_steps=num_steps)[1]

    parts: tuple[tuple[str, Callable[[], AnyLoader], Callable[[AnyLoader, int], float], int], ...] = (
        ("loader", lambda: loader_at(0), take, 1),
        ("trainer, replayed", lambda: replayed, steps, config.batch.accumulate),
        ("training", lambda: loader_at(halfway), steps, config.batch.accumulate),
    )
    for name, make, advance, batches in parts:
        note(name)
        loader = make()
        yield measure_whole(
            name,
            functools.partial(advance, loader),
            runtime=runtime,
            seconds=seconds,
            num_warmups=2 + -(-config.runtime.prefetch // batches),
            num_videos=replayed.num_videos * batches,
            clips_per_video=clips_per_video,
            meter=meter,
        )
        loader.close()


def take(loader: AnyLoader, num_batches: int) -> float:
    """Takes `num_batches` batches. Returns 0 seconds of waiting, since no step waits for them."""
    for _ in range(num_batches):
        next(loader)
    return 0.0


def measure_whole(
    name: str,
    advance: Callable[[int], float],
    *,
    runtime: Runtime,
    seconds: float,
    num_warmups: int,
    num_videos: int,
    clips_per_video: float,
    meter: DecoderMeter,
) -> Row:
    """Calls `advance(number)`, which returns the seconds it waited for data, again and again for about `seconds`."""
    advance(num_warmups)
    per_sample, waited = STEPS_PER_SAMPLE[runtime.device.type], 0.0
    samples: list[float] = []
    nvdec: list[float] = []
    synchronize(runtime.device)
    before = usage()
    begin = mark = time.perf_counter()
    while len(samples) < MIN_REPEATS or mark - begin < seconds:
        waited += advance(per_sample)
        synchronize(runtime.device)
        now = time.perf_counter()
        samples.append((now - mark) / per_sample)
        mark = now
        if (share := meter.share()) is not None:
            nvdec.append(share)
    after = usage()
    num_clips = len(samples) * per_sample * num_videos * clips_per_video
    return row_of(
        name,
        samples,
        num_videos=num_videos,
        clips_per_video=clips_per_video,
        cpu_seconds_per_clip=(after.cpu_seconds - before.cpu_seconds) / num_clips,
        wait_share=waited / (mark - begin) if name == "training" else None,
        host_memory_bytes=after.memory_bytes,
        gpu_memory_bytes=gpu_memory_bytes(runtime.device_index),
        nvdec_share=sum(nvdec) / len(nvdec) if nvdec else None,
    )


def trainer_of(config: Config, data: Dataset, plans: tuple[Planner, Planner], *, runtime: Runtime) -> Trainer:
    """Makes the real trainer with fresh networks. Single steps write nothing, so its folder is never made."""
    method = build.method_of(config, num_classes=len(data.classes))
    num_steps = steps_of(config, num_unlabeled_videos=len(plans[1].pool), num_ranks=1)
    return Trainer(
        method,
        plan=plan_of(config, num_steps=num_steps, num_ranks=1, uses_unlabeled=method.uses_unlabeled),
        identity=Identity(classes=tuple(data.classes)),
        loader_at=no_loader,
        validate=None,
        run=RunDirectory(Path("unused")),
        runtime=runtime,
        switches=settle_switches(config, runtime=runtime, ranks=Ranks(), method=type(method)),
        ranks=Ranks(),
        reporter=Reporter(),
    )


def no_loader(micro_step: int) -> NoReturn:
    """Raises RuntimeError: single steps are given their loader."""
    raise RuntimeError(f"loader: received a call for micro-step {micro_step}; accepted: none, batches are given")


def reasons_missing(runtime: Runtime, meter: DecoderMeter) -> dict[str, str]:
    """Lists what has no figure here, and why."""
    missing = {}
    if runtime.backend == "cpu":
        missing["decode, NVDEC"] = nvdec_problem() or "frames are decoded on the CPU (runtime.backend)"
    if runtime.device_index is None:
        missing["GPU memory"] = f"the device is {runtime.device}"
    if meter.problem:
        missing["NVDEC use"] = meter.problem
    return missing
