"""Measures the memory of the whole loader over time, and its slope.

Both streams, workers, DALI's graphs and the hand-off to torch, as in training; every batch is dropped as soon as
it has come. Memory is that of this process and its children, without the pages of files (libraries, videos); what they
share counts once. Growth is a straight line through the samples after the warm-up. Its standard error takes them as
independent, which they are not quite. Short runs show only how the allocator settles: take half an hour.

    python -m benchmarks.loaders.soak [--minutes 30] [--dataset NAME|FOLDER] [--benchmark-files] [--json FILE]
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import environment, save_json
from benchmarks.loaders.videos import ORIGINAL, make_videos
from benchmarks.loaders.workload import workload_of
from benchmarks.usage import Footprint, footprint
from cmpl import build
from cmpl.config import Config, to_json, with_settings
from cmpl.recipes.registry import recipe_for
from cmpl.training.autotune import synchronize
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import Runtime, settle
from pipelines.batch import SemiBatch
from pipelines.cache import cache_root
from pipelines.loading.loader import SemiLoader
from pipelines.plan.planner import Stream

WARM_UP_SHARE = 0.2
"""Share of the time that does not count: processes start, pools of buffers fill."""
LEAST_SAMPLES = 3
"""After the warm-up: a line and how far the samples are from it."""
NUM_BENCHMARK_VIDEOS, NUM_LABELED, NUM_UNLABELED = 8, 1, 5
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was held `seconds` after the beginning, when `num_videos` videos had come."""

    seconds: float
    num_videos: int
    held: Footprint


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A line through the memory after the warm-up. Units: MiB, MiB an hour."""

    slope_mib_per_hour: float
    standard_error_mib_per_hour: float
    mean_mib: float
    lowest_mib: float
    highest_mib: float
    num_samples: int


def soak(
    loader: Iterator[SemiBatch], *, seconds: float, every_seconds: float, settle_device: Callable[[], None]
) -> Iterator[Sample]:
    """Takes batches for `seconds`, and looks every `every_seconds` at what is held."""
    begin = time.monotonic()
    now, next_look, num_videos = begin, begin, 0
    while now - begin < seconds:
        num_videos += next(loader).num_videos
        settle_device()
        now = time.monotonic()
        if now >= next_look:
            yield Sample(seconds=now - begin, num_videos=num_videos, held=footprint())
            next_look = now + every_seconds


def growth_of(samples: Sequence[Sample], *, warm_up_share: float = WARM_UP_SHARE) -> Growth:
    """Fits the least-squares line through the samples after the warm-up.

    Raises ValueError for fewer than three of them.
    """
    first = warm_up_share * samples[-1].seconds if samples else 0.0
    kept = [sample for sample in samples if sample.seconds >= first]
    if len(kept) < LEAST_SAMPLES:
        raise ValueError(f"samples: received {len(kept)} after the warm-up; accepted: {LEAST_SAMPLES} or more")
    hours = np.array([sample.seconds / 3600 for sample in kept])
    memory = np.array([sample.held.memory_bytes / MIB for sample in kept])
    centered = hours - hours.mean()
    slope = float(centered @ memory / (centered @ centered))
    residuals = memory - memory.mean() - slope * centered
    error = float(np.sqrt(residuals @ residuals / (len(kept) - 2) / (centered @ centered)))
    return Growth(
        slope_mib_per_hour=slope,
        standard_error_mib_per_hour=error,
        mean_mib=float(memory.mean()),
        lowest_mib=float(memory.min()),
        highest_mib=float(memory.max()),
        num_samples=len(kept),
    )


def configuration(dataset: str, *, workers: int | None) -> Config:
    """Makes the recipe of a data set's name, or of a folder's path."""
    settings = {"runtime.held_mib": "0"}  # every video is decoded again, as in a large set
    if workers is not None:
        settings["runtime.workers"] = str(workers)
    if os.path.isdir(dataset):
        return with_settings(recipe_for("folder")(), settings | {"data.root": os.path.abspath(dataset)})
    return with_settings(recipe_for(dataset)(), settings)


def loader_on_data(config: Config, *, runtime: Runtime) -> SemiLoader:
    """Makes the loader of a training run on the data set."""
    data = build.open_data(config)
    plans = build.planners(config, data)
    return build.loader_of(config, plans, runtime=runtime, ranks=Ranks(), first_micro_step=0)


def loader_on_benchmark_files(config: Config, *, runtime: Runtime, folder: Path) -> SemiLoader:
    """Makes a loader of the original-like files that loaders are compared on, at the paper's sizes."""
    files = make_videos(folder, num_videos=NUM_BENCHMARK_VIDEOS, kinds=(ORIGINAL,))
    unlabeled = workload_of(files[ORIGINAL], num_samples=NUM_BENCHMARK_VIDEOS).planner
    return SemiLoader(
        labeled=replace(unlabeled, stream=Stream.LABELED),
        unlabeled=unlabeled,
        num_labeled=NUM_LABELED,
        num_unlabeled=NUM_UNLABELED,
        engine=build.engine_of(config, runtime),
    )


def summary(samples: Sequence[Sample], growth: Growth) -> list[str]:
    """Says in sentences what was found."""
    last = samples[-1]
    files, threads = ({getattr(s.held, name) for s in samples[1:]} for name in ("num_files", "num_threads"))
    return [
        f"{last.num_videos:,} videos in {last.seconds / 60:.1f} minutes, {last.held.num_processes} processes.",
        f"Memory {growth.mean_mib:,.1f} MiB ({growth.lowest_mib:,.1f} to {growth.highest_mib:,.1f}), growing by "
        f"{growth.slope_mib_per_hour:+.1f} MiB an hour (standard error {growth.standard_error_mib_per_hour:.1f}, "
        f"{growth.num_samples} samples).",
        f"Open files {min(files)} to {max(files)}, threads {min(threads)} to {max(threads)}.",
    ]


def run(
    make_loader: Callable[[], SemiLoader], *, runtime: Runtime, seconds: float, every_seconds: float
) -> dict[str, Any]:
    """Runs the loader and prints each sample. Workers have ended on return."""
    loader = make_loader()
    looking = soak(
        loader, seconds=seconds, every_seconds=every_seconds, settle_device=lambda: synchronize(runtime.device)
    )
    samples = []
    for sample in looking:
        samples.append(sample)
        click.echo(f"{sample.seconds:7.0f} s  {sample.num_videos:9,} videos  {sample.held.memory_bytes / MIB:9.1f} MiB")
    problems = loader.problems
    loader.close()
    growth = growth_of(samples)
    for line in summary(samples, growth):
        click.echo(line)
    return {"growth": asdict(growth), "problems": dict(problems), "samples": [asdict(sample) for sample in samples]}


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True)
@click.option("--every", "every_seconds", default=5.0, show_default=True, help="Seconds between two samples.")
@click.option("--dataset", default="demo", show_default=True, metavar="NAME|FOLDER", help="As for `cmpl train`.")
@click.option("--benchmark-files", is_flag=True, help="340x256 files of ten seconds at the paper's sizes instead.")
@click.option("--workers", type=click.IntRange(min=0), help="Workers.  [default: as in training]")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write samples and slope here.")
def main(
    minutes: float,
    every_seconds: float,
    dataset: str,
    benchmark_files: bool,
    workers: int | None,
    json_path: Path | None,
) -> None:
    """Loop over the loader and report how its memory grows."""
    config = configuration("demo" if benchmark_files else dataset, workers=workers)
    runtime = settle(config.runtime)
    click.echo(", ".join(runtime.reasons))
    if benchmark_files:
        make_loader = partial(loader_on_benchmark_files, config, runtime=runtime, folder=cache_root() / "benchmarks")
    else:
        make_loader = partial(loader_on_data, config, runtime=runtime)
    result = run(make_loader, runtime=runtime, seconds=60 * minutes, every_seconds=every_seconds)
    if json_path:
        record = {
            "benchmark": "soak",
            "minutes": minutes,
            "files": "benchmark files" if benchmark_files else dataset,
            "environment": environment(),
            "config": to_json(config),
            "backend": runtime.backend,
            "num_workers": runtime.num_workers,
            "warm_up_share": WARM_UP_SHARE,
        }
        save_json(json_path, record | result)


if __name__ == "__main__":
    main()
