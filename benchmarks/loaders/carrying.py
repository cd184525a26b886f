"""Measures the cost of carrying finished views from workers to the trainer.

    python -m benchmarks.loaders.carrying [--rounds 9] [--json FILE]

The same samples, replayed from each worker's memory, come to the consumer in three ways (`loaders.carriers`): by this
project's workers, by DALI's external_source with parallel workers on a CPU, and by torch's DataLoader. Nothing is
decoded. The consumer reads one byte of each memory page, so that memory that is only mapped counts too. First a gate:
all must give the same bytes. Then they take turns. Last come the time to import DALI, and its bytes on the disk.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import environment, save_json, summarize
from benchmarks.installed import import_seconds, installed_bytes
from benchmarks.loaders.carriers import CARRIERS, DEMO, NUM_AHEAD, PAPER, Carrier, Case, replayed
from benchmarks.loaders.workload import timed, wait_until_idle
from benchmarks.replay import ReplaySource
from benchmarks.usage import footprint

NUM_WORKERS = (1, 2)
PAGE_BYTES = 4096
DALI_PACKAGE = "nvidia-dali-cuda130"
IMPORTED = ("pipelines.loading.graph", "pipelines.loading.workers", "torch")
"""Modules whose import is timed: the first one needs DALI, the second one neither DALI nor torch."""


def take(carrier: Carrier, num_batches: int) -> int:
    """Takes batches and reads one byte of each page. A batch lives until the next one has come, as in training."""
    total = 0
    for _ in range(num_batches):
        views = carrier.next()
        total += sum(int(view.view(-1)[::PAGE_BYTES].max()) for view in views)
    return total


def check(carriers: Mapping[str, Carrier], source: ReplaySource) -> None:
    """Compares each carrier's first two batches with the source's: the gate. Raises ValueError where bytes differ."""
    expected = [np.stack(views) for views in zip(*(sample.media for sample in source.batch), strict=True)]
    for name, carrier in carriers.items():
        for _ in range(2):
            views = carrier.next()
            if not all(np.array_equal(view.numpy(), wanted) for view, wanted in zip(views, expected, strict=True)):
                raise ValueError(f"carrier: received other bytes from {name}; accepted: those of the workers' samples")


def measure(case: Case, *, num_workers: int, num_rounds: int) -> list[dict[str, Any]]:
    """Measures seconds, processor time and memory: a row a carrier. Every round begins with another carrier."""
    source, carriers, memory = replayed(case), {}, {}
    for name, make in CARRIERS.items():
        before = footprint().memory_bytes
        carriers[name] = make(source, num_workers=num_workers)
        take(carriers[name], 4 * NUM_AHEAD)
        memory[name] = footprint().memory_bytes - before
    check(carriers, source)
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in carriers}
    order = list(carriers)
    for number in range(num_rounds):
        first = number % len(order)
        for name in order[first:] + order[:first]:
            take(carriers[name], 2 * NUM_AHEAD * num_workers + 2)  # what was made ahead while others ran
            rounds[name].append(timed(partial(take, carriers[name], case.num_batches)))
            wait_until_idle()
    for carrier in carriers.values():
        carrier.close()
    num_videos = case.num_batches * case.batch_size
    num_bytes = sum(int(np.prod(shape)) for shape in source.view_shapes)
    rows = []
    for name, measured in rounds.items():
        seconds, cpu_seconds = np.array(measured).T / num_videos
        row = {"case": case.name, "num_workers": num_workers, "carrier": name, "bytes_per_video": num_bytes}
        row |= summarize(seconds.tolist())
        cpu = {f"cpu_{key}": value for key, value in summarize(cpu_seconds.tolist()).items() if key != "num_samples"}
        rows.append(row | cpu | {"memory_bytes": memory[name]})
    return rows


def show(rows: list[dict[str, Any]], note: Callable[[str], None]) -> None:
    """Prints one line a carrier."""
    for row in rows:
        note(
            f"  {row['carrier']:<24} {1e3 * row['median_seconds']:7.2f} ms a video "
            f"({1e3 * row['lower_quartile_seconds']:.2f}-{1e3 * row['upper_quartile_seconds']:.2f}), processor "
            f"{1e3 * row['cpu_median_seconds']:.2f} ms, memory {row['memory_bytes'] / 2**20:,.0f} MiB"
        )


def run(
    cases: Sequence[Case], *, workers: Sequence[int], num_rounds: int, note: Callable[[str], None] = click.echo
) -> list[dict[str, Any]]:
    """Measures all cases with each number of workers."""
    rows = []
    for case in cases:
        for num_workers in workers:
            measured = measure(case, num_workers=num_workers, num_rounds=num_rounds)
            note(f"{case.name}, {num_workers} workers, {measured[0]['bytes_per_video'] / 1e6:.2f} MB a video")
            show(measured, note)
            rows += measured
    return rows


@click.command()
@click.option("--rounds", "num_rounds", default=9, show_default=True, help="Rounds in which the carriers take turns.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(num_rounds: int, json_path: Path | None) -> None:
    """Compare three ways to carry views from workers: this project, DALI on a CPU, torch's DataLoader."""
    import torch

    torch.set_num_threads(1)
    begin = time.monotonic()
    rows = run((PAPER, DEMO), workers=NUM_WORKERS, num_rounds=num_rounds)
    imports = {modules: import_seconds(modules) for modules in IMPORTED}
    installed = installed_bytes(DALI_PACKAGE)
    click.echo(", ".join(f"import {name}: {seconds:.2f} s" for name, seconds in imports.items()))
    click.echo(f"{DALI_PACKAGE} and what it brings: {sum(installed.values()) / 1e6:,.0f} MB")
    if json_path:
        record = {
            "benchmark": "carriers",
            "unit": "seconds a video",
            "environment": environment(),
            "load_average": os.getloadavg(),
            "seconds": time.monotonic() - begin,
            "num_rounds": num_rounds,
            "num_batches_ahead": NUM_AHEAD,
            "rows": rows,
            "import_seconds": imports,
            "installed_bytes": installed,
        }
        save_json(json_path, record)


if __name__ == "__main__":
    main()
