"""Measures how the loader grows: from 2,000 videos to 240,000, and from one worker to one a core.

    python -m benchmarks.loaders.growth [--videos 2000 --videos 240000] [--json FILE]

A folder holds as many videos as are asked for: hard links to a few real files, in folders of a thousand, probed before.
For each size a new process opens the manifest, starts the loader and takes batches, so that nothing is warm but the
page cache. Measured: seconds to open, seconds to the first batch, milliseconds to plan and to cut a sample, and the
memory of a worker that it shares with nobody.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import environment, save_json
from benchmarks.loaders.videos import INTRA, make_videos
from benchmarks.loaders.workload import GEOMETRY
from benchmarks.usage import footprint
from pipelines.cache import cache_root
from pipelines.catalog.manifest import Manifest, open_manifest
from pipelines.catalog.manifest_cache import FACTS, FactTable, manifest_file, save_table
from pipelines.catalog.pool import pool_of
from pipelines.loading.sample import Media
from pipelines.loading.source import TrainSource
from pipelines.loading.workers import Workers
from pipelines.plan.planner import Planner, Stream
from pipelines.video.cut import cut

SIZES = (2_000, 10_000, 100_000, 240_000)
FOLDER_VIDEOS, BATCH_VIDEOS, NUM_BATCHES, NUM_TIMED = 1000, 4, 4, 200
NUM_FILES = 8
"""A file takes at most 65,000 hard links (ext4)."""
REACH = {"open_seconds": 1.0, "first_batch_seconds": 5.0, "plan_us": 35.0, "cut_ms": 0.7}
Row = dict[str, Any]


def paths_of(num_videos: int) -> list[str]:
    """Lists the videos, relative to the root."""
    return [f"{k // FOLDER_VIDEOS:03}/{k:06}.mp4" for k in range(num_videos)]


def make_many(root: Path, videos: Sequence[Path], *, num_videos: int, cache_dir: Path) -> None:
    """Links `num_videos` files to a few and writes the manifest that probing all of them would give."""
    known = probed(videos[0].parent, [path.name for path in videos], cache_dir=cache_dir)
    for folder in range(-(-num_videos // FOLDER_VIDEOS)):
        (root / f"{folder:03}").mkdir(parents=True, exist_ok=True)
    paths = paths_of(num_videos)
    for k, path in enumerate(paths):
        source, target = videos[k % len(videos)], root / path
        if target.is_symlink() or not target.exists() or not target.samefile(source):
            target.unlink(missing_ok=True)
            target.hardlink_to(source)
    facts = known.facts[np.arange(num_videos) % len(videos)]
    table = FactTable(paths=tuple(paths), facts=facts.astype(FACTS), codings=known.codings, problems={})
    save_table(manifest_file(root, cache_dir=cache_dir), table)


def probed(root: Path, paths: Sequence[str], *, cache_dir: Path) -> Manifest:
    """Opens the manifest of these videos, all of unknown class."""
    return open_manifest(root, paths, np.full(len(paths), -1), cache_dir=cache_dir)


def measure(root: Path, *, num_videos: int, num_workers: int, cache_dir: Path) -> Row:
    """Opens the manifest and loads a few batches, as a training that begins. To be called in a process of its own."""
    paths = paths_of(num_videos)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    manifest = probed(root, paths, cache_dir=cache_dir)
    opened, opened_cpu = time.perf_counter(), time.process_time()
    pool = pool_of((manifest, manifest.usable))
    planner = Planner(pool=pool, seed=0, stream=Stream.UNLABELED, geometry=GEOMETRY)
    source = TrainSource(planner=planner, media=Media.VIEWS, batch_size=BATCH_VIDEOS)
    workers = Workers(source, num_workers=num_workers, num_ahead=2)
    try:
        workers.next()
        first = time.perf_counter()
        for _ in range(NUM_BATCHES):
            workers.next()
        rate = NUM_BATCHES * BATCH_VIDEOS / (time.perf_counter() - first)
        own = [footprint(process.pid).memory_bytes for process in workers.processes if process.pid]
    finally:
        workers.close()
    return {
        "num_videos": num_videos,
        "num_workers": num_workers,
        "open_seconds": opened - begin,
        "open_cpu_seconds": opened_cpu - begin_cpu,
        "first_batch_seconds": first - begin,
        "videos_per_second": rate,
        "worker_memory_mib": float(np.median(own)) / 2**20,
        "trainer_memory_mib": footprint().memory_bytes / 2**20,
        **sample_costs(planner),
    }


def sample_costs(planner: Planner) -> dict[str, float]:
    """Processor time to plan a sample, the mean of some, and to cut its video, the median."""
    planner.plan(0)
    begin = time.thread_time()
    plans = [planner.plan(position) for position in range(NUM_TIMED)]
    plan_us = (time.thread_time() - begin) / NUM_TIMED * 1e6
    cut_ms = []
    for plan in plans:
        frames = np.unique(plan.frames)
        begin = time.thread_time()
        cut(planner.pool.paths[plan.video], frames, exact_seek=True)
        cut_ms.append((time.thread_time() - begin) * 1e3)
    return {"plan_us": plan_us, "cut_ms": float(np.median(cut_ms))}


def in_new_process(**arguments: Any) -> Row:
    """Calls `measure` in a process of its own."""
    words = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    command = [sys.executable, "-m", "benchmarks.loaders.growth", "--child", json.dumps(words)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


_NUMBER = click.IntRange(1)


@click.command()
@click.option(
    "--videos", "sizes", type=_NUMBER, multiple=True, default=SIZES, show_default=True, help="Lengths of lists."
)
@click.option(
    "--workers", "workers", type=_NUMBER, multiple=True, help="Numbers of workers (default: 1 to one a core)."
)
@click.option(
    "--rounds",
    "num_rounds",
    type=_NUMBER,
    default=3,
    show_default=True,
    help="New processes for each row; medians count.",
)
@click.option("--folder", type=click.Path(path_type=Path), help="Where the files are kept (default: the cache).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
@click.option("--child", hidden=True, help="What one process measures.")
def main(
    sizes: tuple[int, ...],
    workers: tuple[int, ...],
    num_rounds: int,
    folder: Path | None,
    json_path: Path | None,
    child: str | None,
) -> None:
    """Measure opening, the first batch and a worker's memory from 2,000 to 240,000 videos."""
    if child is not None:
        words = json.loads(child)
        root, cache_dir = Path(words.pop("root")), Path(words.pop("cache_dir"))
        click.echo(json.dumps(measure(root, cache_dir=cache_dir, **words)))
        return
    folder = folder or cache_root() / "benchmarks"
    videos, cache_dir = make_videos(folder, num_videos=NUM_FILES, kinds=(INTRA,))[INTRA], folder / "manifests"
    cores = workers or tuple(range(1, len(os.sched_getaffinity(0)) + 1))
    rows: list[Row] = []
    for num_videos in sizes:
        root = folder / f"many-{num_videos}"
        make_many(root, videos, num_videos=num_videos, cache_dir=cache_dir)
        for num_workers in cores if num_videos == max(sizes) else cores[-1:]:
            rounds = [
                in_new_process(root=root, num_videos=num_videos, num_workers=num_workers, cache_dir=cache_dir)
                for _ in range(num_rounds)
            ]
            rows.append({name: float(np.median([row[name] for row in rounds])) for name in rounds[0]})
            rows[-1] |= {"open_seconds_least": min(row["open_seconds"] for row in rounds)}
            rows[-1] |= {"first_batch_seconds_least": min(row["first_batch_seconds"] for row in rounds)}
            click.echo("  ".join(f"{name} {value:.4g}" for name, value in rows[-1].items()))
    if json_path:
        record = {"benchmark": "growth", "environment": environment(), "num_rounds": num_rounds, "wanted": REACH}
        save_json(json_path, record | {"rows": rows})


if __name__ == "__main__":
    main()
