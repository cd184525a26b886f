"""Compares this project with other loaders of the same clips on a CPU.

    python -m benchmarks.loaders.on_cpu [--rounds 5] [--json FILE]

All get one frozen list of plans (videos, frames, crops, operations), as many cores and the same page cache. Files are
originals and `cmpl prepare`'s intra ones, the form that every decoder is fastest on. Arms:

- decode: the frames of both networks out of a file.
- whole: weak and strong views. All workers make them with this project's code: only reading and decoding differ.
- whole, DALI's operators (`--dali`): DALI's CPU operators behind the other decoders, a loader without this project.

All loaders on all files take turns, round by round. Each runs at the best of the settings that its documentation names.
First a gate: a loader whose pixels differ from plain decoding by more than 2 of 255 in the mean does not take part.
Ratios are those of processor time, which other work on a machine changes least. Loaders that are not installed are
named and left out:

    pip install decord opencv-python-headless torchcodec spdl-io    (torchcodec needs FFmpeg's shared libraries)
"""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
import numpy as np

from benchmarks.decode_work import DecodeWork, decode_work
from benchmarks.environment import environment, save_json, summarize
from benchmarks.loaders.decoders import GPU_OR_SOURCE_ALONE, LIBRARIES, OURS, Setup, reference_frames, setups
from benchmarks.loaders.videos import ALIGNED, INTRA, KINDS, NUM_FRAMES, ORIGINAL, SIZE, make_videos
from benchmarks.loaders.workload import GEOMETRY, DecodeRunner, Workload, whole_runner, workload_of
from pipelines.cache import cache_root
from pipelines.plan.geometry import Geometry
from pipelines.video.container import open_video
from pipelines.video.cut import cut
from pipelines.video.encoding import STRIDE

MAX_DIFFERENCE = 2.0
"""Gray levels of 255, mean over a sample. Decoders round and convert colors differently, but show the same frames."""
NUM_PARITY_SAMPLES, NUM_TRIED_SAMPLES, NUM_TRIED_ROUNDS = 4, 8, 2
WHOLE = "whole"
WHOLE_ARMS = {WHOLE: "views", "whole, DALI's operators": "frames"}
"""What workers with another decoder hand over (`benchmarks.loaders.workload.whole_runner`)."""
Row = dict[str, Any]  # what one loader did in one arm, ready for JSON
Key = TypeVar("Key")  # a loader, or (kind of files, loader)


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

    num_samples: int

    def round(self) -> tuple[float, float]: ...


def take_turns(runners: Mapping[Key, Runner], *, num_rounds: int) -> dict[Key, Row]:
    """Measures all loaders on all files in turns. Returns {key: videos a second and processor time a video}, median
    and quartiles.

    Every round begins with another loader, so that none always comes after the same one."""
    measured: dict[Key, list[tuple[float, float]]] = {loader: [] for loader in runners}
    order = list(runners)
    for number in range(num_rounds):
        first = number % max(1, len(order))
        for loader in order[first:] + order[:first]:
            measured[loader].append(runners[loader].round())
    rows = {}
    for loader, rounds in measured.items():
        seconds, cpu_seconds = np.array(rounds).T / runners[loader].num_samples
        low, middle, high = np.quantile(cpu_seconds, (0.25, 0.5, 0.75)).tolist()
        rows[loader] = _rates(seconds.tolist()) | {"cpu_seconds": middle, "cpu_seconds_quartiles": [low, high]}
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
    arms: Sequence[str] = tuple(WHOLE_ARMS),
    note: Callable[[str], None] = click.echo,
) -> dict[str, Any]:
    """Runs all arms on each kind of files. Returns their rows, the counts, and who is missing and why."""
    missing = {loader: problem for loader in LIBRARIES if (problem := LIBRARIES[loader].problem())}
    for loader, problem in (missing | GPU_OR_SOURCE_ALONE).items():
        note(f"without {loader}: {problem}")
    names = [loader for loader in LIBRARIES if loader not in missing]
    work, chosen = {}, {}
    apart: dict[tuple[str, str], float] = {}
    workloads, decoders = {}, {}
    for kind, paths in videos.items():
        clips = dataclasses.replace(geometry, start_multiple=STRIDE if kind == ALIGNED else 1)
        workloads[kind] = workload_of(paths, num_samples=num_samples, geometry=clips)
        work[kind] = decoded_per_used(workloads[kind])
        counts = ", ".join(f"{name} {value:.2f}" for name, value in work[kind].items())
        note(f"{kind} files: frames decoded for one that is used: {counts}")
        chosen[kind] = best_setups(workloads[kind], names, num_cores=num_cores)
        for loader, (setup, _) in chosen[kind].items():
            decoders[kind, loader] = DecodeRunner(setup, workloads[kind])
        runners = {loader: decoders[kind, loader] for loader in names}
        apart |= {(kind, loader): found for loader, found in differences(runners, workloads[kind]).items()}
    passed = [key for key in decoders if apart[key] <= MAX_DIFFERENCE]
    measured = {"decode": take_turns({key: decoders[key] for key in passed}, num_rounds=num_rounds)}
    for decoder in decoders.values():
        decoder.close()
    for arm in arms:
        graphs = {
            (kind, loader): whole_runner(
                chosen[kind][loader][0], workloads[kind], media=WHOLE_ARMS[arm], num_cores=num_cores
            )
            for kind, loader in passed
        }
        measured[arm] = take_turns(graphs, num_rounds=num_rounds)
        for graph in graphs.values():
            graph.close()
    rows: list[Row] = []
    for arm, found in measured.items():
        for kind in videos:
            for loader in names:
                setup, tried = chosen[kind][loader]
                row: Row = {"files": kind, "arm": arm, "peer": loader, "setup": str(setup), "tried_seconds": tried}
                row |= {"difference": apart[kind, loader], "passed": (kind, loader) in passed}
                rows.append(row | found.get((kind, loader), {}))
            show(rows[-len(names) :], note)
    left_out = missing | GPU_OR_SOURCE_ALONE
    return {"rows": rows, "decoded_per_used": work, "missing": left_out, "reached": reached(rows)}


def reached(rows: list[Row]) -> dict[str, Row]:
    """Compares this project with the best of the others by processor time a video, {what: the ratios}.

    For each kind of files and arm; and for each arm this project on the files that suit it best, with the others on the
    originals and with the others on the files that suit each of them best.
    """
    found = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        cost = {(row["files"], row["peer"]): row["cpu_seconds"] for row in rows if row["arm"] == arm and row["passed"]}
        ours = {files: seconds for (files, peer), seconds in cost.items() if peer == OURS}
        others = {key: seconds for key, seconds in cost.items() if key[1] != OURS}
        if not ours or not others:
            continue
        pairs = {f"{files}, {arm}": (files, {key: s for key, s in others.items() if key[0] == files}) for files in ours}
        best = min(ours, key=ours.__getitem__)
        pairs[f"{best} beside originals, {arm}"] = best, {key: s for key, s in others.items() if key[0] == ORIGINAL}
        pairs[f"{best} beside the best form of all, {arm}"] = best, others
        for what, (files, beside) in pairs.items():
            if beside:
                key = min(beside, key=beside.__getitem__)
                found[what] = {"best_peer": key[1], "its_files": key[0], "ratio": beside[key] / ours[files]}
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
@click.option("--dali", is_flag=True, help="Also put DALI's operators behind the other decoders.")
@click.option("--all-forms", is_flag=True, help="Also aligned and gop files.")
@click.option("--frames", "num_frames", default=NUM_FRAMES, show_default=True, help="Length of a file.")
@click.option("--size", nargs=2, default=SIZE, show_default=True, help="Width and height of the originals.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the files are kept (default: the cache).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(
    num_videos: int,
    num_samples: int,
    num_rounds: int,
    num_cores: int | None,
    dali: bool,
    all_forms: bool,
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
    kinds = KINDS if all_forms else (ORIGINAL, INTRA)
    videos = make_videos(
        folder or cache_root() / "benchmarks", num_videos=num_videos, num_frames=num_frames, size=size, kinds=kinds
    )
    click.echo(f"{num_videos} files of each kind, {num_samples} planned videos, {num_cores} cores")
    arms = tuple(WHOLE_ARMS) if dali else (WHOLE,)
    result = run(videos, num_samples=num_samples, num_rounds=num_rounds, num_cores=num_cores, arms=arms)
    for what, found in result["reached"].items():
        click.echo(f"{what}: {found['ratio']:.2f} x {found['best_peer']} on {found['its_files']} files")
    if json_path:
        settings = {"num_videos": num_videos, "num_samples": num_samples, "num_rounds": num_rounds, "size": list(size)}
        record = {"benchmark": "loaders", "environment": environment(), "num_cores": num_cores, **settings}
        record["seconds"] = time.monotonic() - begin
        save_json(json_path, record | result)


if __name__ == "__main__":
    main()
