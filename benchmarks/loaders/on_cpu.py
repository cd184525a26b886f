"""Compares this project with other loaders of the same clips on a CPU.

    python -m benchmarks.loaders.on_cpu [--rounds 5] [--json FILE]

All get one frozen list of plans (videos, frames, crops, operations), as many cores and the same page cache. Arms:

- decode: the frames of both networks out of a file.
- whole: weak and strong views. All workers make them with this project's code: only reading and decoding differ.
- whole, DALI's operators: DALI's CPU operators behind the other decoders, a loader without this project.

All take turns, round by round. Each runs at the best of the settings that its documentation names. First a gate: a
loader whose pixels differ from plain decoding by more than 2 of 255 in the mean does not take part. Loaders that are
not installed are named and left out:

    pip install decord opencv-python-headless torchcodec      (torchcodec needs FFmpeg's shared libraries)
"""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
import numpy as np

from benchmarks.decode_work import DecodeWork, decode_work
from benchmarks.environment import environment, save_json, summarize
from benchmarks.loaders.decoders import LIBRARIES, OURS, Setup, reference_frames, setups
from benchmarks.loaders.videos import ALIGNED, GOP, INTRA, NUM_FRAMES, ORIGINAL, SIZE, make_videos
from benchmarks.loaders.workload import GEOMETRY, DecodeRunner, Workload, whole_runner, workload_of
from pipelines.cache import cache_root
from pipelines.plan.geometry import Geometry
from pipelines.video.container import open_video
from pipelines.video.cut import cut
from pipelines.video.encoding import STRIDE

MAX_DIFFERENCE = 2.0
"""Gray levels of 255, mean over a sample. Decoders round and convert colors differently, but show the same frames."""
NUM_PARITY_SAMPLES, NUM_TRIED_SAMPLES, NUM_TRIED_ROUNDS = 4, 8, 2
WHOLE_ARMS = {"whole": "views", "whole, DALI's operators": "frames"}
"""What workers with another decoder hand over (`benchmarks.loaders.workload.whole_runner`)."""
Row = dict[str, Any]  # what one loader did in one arm, ready for JSON
REACH = {ORIGINAL: 1.5, INTRA: 2.0, ALIGNED: 2.0, GOP: 2.0}
"""The wanted ratio of this project's rate to the best other loader's."""


def best_setups(
    workload: Workload, names: Sequence[str], *, num_cores: int
) -> dict[str, tuple[Setup, dict[str, float]]]:
    """Finds each loader's fastest settings in a short trial. Returns them, and the seconds a video of all settings."""
    chosen = {}
    for loader in names:
        tried: dict[Setup, float] = {}
        runners: dict[tuple[int, int], DecodeRunner] = {}
        for setup in setups(loader, num_cores=num_cores):
            shape = setup.num_workers, setup.num_threads
            runner = runners[shape] = runners.get(shape) or DecodeRunner(setup, workload)
            runner.setup = setup
            num = min(NUM_TRIED_SAMPLES, workload.num_samples)
            tried[setup] = min(runner.round(num)[0] for _ in range(NUM_TRIED_ROUNDS)) / num
        for runner in runners.values():
            runner.close()
        chosen[loader] = min(tried, key=tried.__getitem__), {str(setup): seconds for setup, seconds in tried.items()}
    return chosen


def differences(runners: Mapping[str, DecodeRunner], workload: Workload) -> dict[str, float]:
    """Gives each loader's largest mean absolute difference (of 255) from plain decoding over some samples: the gate."""
    references = [reference_frames(*job).astype(np.int16) for job in workload.jobs(NUM_PARITY_SAMPLES)]

    def difference(frames: np.ndarray, reference: np.ndarray) -> float:
        return float(np.abs(frames - reference).mean()) if frames.shape == reference.shape else 255.0

    return {
        loader: max(map(difference, runner.frames(NUM_PARITY_SAMPLES), references))
        for loader, runner in runners.items()
    }


class Runner(Protocol):
    """A loader that takes its turn."""

    def round(self) -> tuple[float, float]: ...


def take_turns(runners: Mapping[str, Runner], workload: Workload, *, num_rounds: int) -> dict[str, Row]:
    """Measures all loaders in turns. Returns {loader: median and quartiles of videos a second, processor time a video}.

    Every round begins with another loader, so that none always comes after the same one."""
    measured: dict[str, list[tuple[float, float]]] = {loader: [] for loader in runners}
    order = list(runners)
    for number in range(num_rounds):
        first = number % max(1, len(order))
        for loader in order[first:] + order[:first]:
            measured[loader].append(runners[loader].round())
    rows = {}
    for loader, rounds in measured.items():
        seconds, cpu_seconds = np.array(rounds).T / workload.num_samples
        rows[loader] = _rates(seconds.tolist()) | {"cpu_seconds": float(np.median(cpu_seconds))}
    return rows


def _rates(seconds_per_video: list[float]) -> Row:
    times = summarize(seconds_per_video)
    return times | {
        "videos_per_second": 1 / times["median_seconds"],
        "lower_quartile": 1 / times["upper_quartile_seconds"],
        "upper_quartile": 1 / times["lower_quartile_seconds"],
    }


def decoded_per_used(workload: Workload) -> dict[str, float]:
    """Counts the frames decoded for each distinct frame that clips show, by this project and as bounds.

    ours: frames that come out of the decoder. needed: packets of the GOPs that hold the frames, without those that no
    other refers to. whole_gops: with these. from_start: everything up to the last frame.
    """
    ours, work = 0, DecodeWork()
    for video, frames in workload.jobs():
        work += decode_work(video.path, frames, exact_seek=video.exact_seek)
        content = cut(video.path, np.unique(frames), exact_seek=video.exact_seek).content
        with open_video(content) as (container, stream):
            ours += sum(1 for _ in container.decode(stream))
    counted = {"ours": ours, "needed": work.needed, "whole_gops": work.from_keyframes, "from_start": work.from_start}
    return {name: number / work.num_wanted for name, number in counted.items()}


def run(
    videos: dict[str, list[Path]],
    *,
    num_samples: int,
    num_rounds: int,
    num_cores: int,
    geometry: Geometry = GEOMETRY,
    note: Callable[[str], None] = click.echo,
) -> dict[str, Any]:
    """Runs all arms on each kind of files. Returns their rows, the counts, and who is missing and why."""
    missing = {loader: problem for loader in LIBRARIES if (problem := LIBRARIES[loader].problem())}
    rows: list[Row] = []
    work = {}
    for loader, problem in missing.items():
        note(f"without {loader}: {problem}")
    for kind, paths in videos.items():
        clips = dataclasses.replace(geometry, start_multiple=STRIDE if kind == ALIGNED else 1)
        workload = workload_of(paths, num_samples=num_samples, geometry=clips)
        work[kind] = decoded_per_used(workload)
        counts = ", ".join(f"{name} {value:.2f}" for name, value in work[kind].items())
        note(f"\n{kind} files: frames decoded for one that is used: {counts}")
        chosen = best_setups(workload, [loader for loader in LIBRARIES if loader not in missing], num_cores=num_cores)
        decoders = {loader: DecodeRunner(setup, workload) for loader, (setup, _) in chosen.items()}
        apart = differences(decoders, workload)
        passed = [loader for loader in decoders if apart[loader] <= MAX_DIFFERENCE]
        arms = {"decode": take_turns({p: decoders[p] for p in passed}, workload, num_rounds=num_rounds)}
        for decoder in decoders.values():
            decoder.close()
        for arm, media in WHOLE_ARMS.items():
            graphs = {p: whole_runner(chosen[p][0], workload, media=media, num_cores=num_cores) for p in passed}
            arms[arm] = take_turns(graphs, workload, num_rounds=num_rounds)
            for graph in graphs.values():
                graph.close()
        for arm, measured in arms.items():
            for loader in decoders:
                setup, tried = chosen[loader]
                row = {"files": kind, "arm": arm, "peer": loader, "setup": str(setup), "tried_seconds": tried}
                rows.append(row | {"difference": apart[loader], "passed": loader in passed} | measured.get(loader, {}))
            show(rows[-len(decoders) :], note)
    return {"rows": rows, "decoded_per_used": work, "missing": missing, "reached": reached(rows)}


def reached(rows: list[Row]) -> dict[str, Row]:
    """Gives {files, arm: this project's rate over the best other loader's, and the wanted ratio}."""
    found = {}
    for files, arm in dict.fromkeys((row["files"], row["arm"]) for row in rows):
        rates = {
            r["peer"]: r["videos_per_second"] for r in rows if (r["files"], r["arm"]) == (files, arm) and r["passed"]
        }
        ours = rates.pop(OURS, None)
        if ours and rates:
            best = max(rates, key=rates.__getitem__)
            found[f"{files}, {arm}"] = {"best_peer": best, "ratio": ours / rates[best], "wanted": REACH.get(files)}
    return found


def show(rows: list[Row], note: Callable[[str], None]) -> None:
    """Prints the table of one arm."""
    note(
        f"\n{rows[0]['files']} files, {rows[0]['arm']}: videos/s (quartiles), processor time a video, difference of 255"
    )
    for row in rows:
        line = f"  {row['peer']:<28} difference {row['difference']:.2f}"
        if "videos_per_second" in row:
            line = (
                f"  {row['peer']:<28} {row['videos_per_second']:8.2f} ({row['lower_quartile']:.2f}-"
                f"{row['upper_quartile']:.2f})  {row['cpu_seconds'] * 1e3:7.1f} ms  {row['difference']:.2f}"
            )
        note(f"{line}  [{row['setup']}]{'' if row['passed'] else '  did not pass'}")


@click.command()
@click.option("--videos", "num_videos", default=8, show_default=True, help="Files of each kind.")
@click.option("--samples", "num_samples", default=16, show_default=True, help="Planned videos in the frozen list.")
@click.option("--rounds", "num_rounds", default=5, show_default=True, help="Rounds in which loaders take turns.")
@click.option("--cores", "num_cores", type=int, help="Cores that all may use (default: all there are).")
@click.option("--frames", "num_frames", default=NUM_FRAMES, show_default=True, help="Length of a file.")
@click.option("--size", nargs=2, default=SIZE, show_default=True, help="Width and height of the originals.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the files are kept (default: the cache).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(
    num_videos: int,
    num_samples: int,
    num_rounds: int,
    num_cores: int | None,
    num_frames: int,
    size: tuple[int, int],
    folder: Path | None,
    json_path: Path | None,
) -> None:
    """Compare this project with decord, OpenCV, PyAV and torchcodec on the same clips."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if num_cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_cores])
    num_cores, begin = len(os.sched_getaffinity(0)), time.monotonic()
    videos = make_videos(folder or cache_root() / "benchmarks", num_videos=num_videos, num_frames=num_frames, size=size)
    click.echo(f"{num_videos} files of each kind, {num_samples} planned videos, {num_cores} cores")
    result = run(videos, num_samples=num_samples, num_rounds=num_rounds, num_cores=num_cores)
    for what, found in result["reached"].items():
        click.echo(f"{what}: {found['ratio']:.2f} x {found['best_peer']} (wanted: {found['wanted']} x)")
    if json_path:
        settings = {"num_videos": num_videos, "num_samples": num_samples, "num_rounds": num_rounds, "size": list(size)}
        record = {"benchmark": "loaders", "environment": environment(), "num_cores": num_cores, **settings}
        record["seconds"] = time.monotonic() - begin
        save_json(json_path, record | result)


if __name__ == "__main__":
    main()
