"""Measures the forms of `cmpl prepare`: bytes, quality, times to decode, to make samples, to prepare.

    python -m benchmarks.loaders.forms [FOLDER] [--json FILE]

Two sets of videos: the benchmark's own (340x256, ten seconds, as Kinetics), and with FOLDER some real clips of it.
Each is encoded in every form and at several crf. PSNR is that of the luma of eight frames a video against what was
encoded, the scaled source. Then the frames of planned clips are decoded, and whole samples made, from each kind of
file in turns, round by round. All times are processor time of one thread, as other work on a machine changes them
least.
"""

import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import environment, save_json, summarize
from benchmarks.loaders.videos import ORIGINAL, make_videos
from benchmarks.loaders.workload import GEOMETRY, Workload, workload_of
from pipelines.cache import cache_root
from pipelines.datasets.suffixes import VIDEO_SUFFIXES
from pipelines.errors import VideoError
from pipelines.loading.sample import Media
from pipelines.loading.source import TrainSource
from pipelines.video.encoding import STRIDE, Form, Settings
from pipelines.video.frames import decode_each
from pipelines.video.transcode import Transcoded, transcode

SWEEP = {Form.INTRA: (22, 24, 25, 26), Form.ALIGNED: (20,), Form.GOP: (20,)}
"""The crf of each form."""
LEAST_PSNR_DB = 40.0
KINETICS_VIDEOS = 240_000
OWN, REAL = "own", "real"
Row = dict[str, Any]  # one kind of file of one set, ready for JSON


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One kind of file: the originals, or a form at one crf."""

    settings: Settings | None = None

    def __str__(self) -> str:
        return "original" if self.settings is None else f"{self.settings.form} crf {self.settings.crf}"

    @property
    def start_multiple(self) -> int:
        """Frames at whose multiples clips start."""
        return STRIDE if self.settings is not None and self.settings.form is Form.ALIGNED else 1


def arms() -> list[Arm]:
    """Lists the originals and all that is swept."""
    return [Arm(), *(Arm(settings=Settings(form=form, crf=crf)) for form, crfs in SWEEP.items() for crf in crfs)]


def encoded(
    originals: Sequence[Path], folder: Path, note: Callable[[str], None]
) -> tuple[dict[str, list[Path]], list[Row]]:
    """Encodes all videos in all ways. Returns {arm: files} and a row each of size, PSNR and processor time.

    A video that cannot be prepared is left out of all kinds.
    """
    files: dict[str, list[Path]] = {str(arm): [] for arm in arms()}
    made: dict[str, list[tuple[Transcoded, float]]] = {name: [] for name in files}
    for k, original in enumerate(originals):
        found: dict[str, tuple[Path, Transcoded, float]] = {}
        try:
            for arm in arms():
                if arm.settings is not None:
                    target = folder / f"{arm}-{k}.mp4".replace(" ", "-")
                    begin = time.process_time()
                    result = transcode(original, target, settings=arm.settings)
                    found[str(arm)] = target, result, time.process_time() - begin
        except VideoError as error:
            note(f"without {original}: {error}")
            continue
        copy = folder / f"original-{k}{original.suffix}"
        copy.symlink_to(original.resolve())
        files["original"].append(copy)
        for name, (target, result, seconds) in found.items():
            files[name].append(target)
            made[name].append((result, seconds))
    return files, [row_of(arm, made[str(arm)]) for arm in arms() if arm.settings is not None]


def row_of(arm: Arm, made: Sequence[tuple[Transcoded, float]]) -> Row:
    """Sums up what was encoded."""
    psnr = np.array([result.psnr_db for result, _ in made])
    num_frames = sum(result.num_frames for result, _ in made)
    return {
        "arm": str(arm),
        "size_ratio": sum(result.size_bytes for result, _ in made) / sum(result.source_bytes for result, _ in made),
        "bytes_per_frame": sum(result.size_bytes for result, _ in made) / num_frames,
        "psnr_db": {name: float(np.quantile(psnr, at)) for name, at in QUANTILES.items()},
        "psnr_db_per_video": [round(value, 2) for value in psnr.tolist()],
        "prepare_cpu_seconds_per_video": statistics.fmean(seconds for _, seconds in made),
        "prepare_cpu_seconds_per_frame": sum(seconds for _, seconds in made) / num_frames,
    }


QUANTILES = {"lowest": 0.0, "tenth": 0.1, "median": 0.5, "highest": 1.0}


def decode(workload: Workload, position: int) -> None:
    """Decodes the distinct frames of a sample and drops them."""
    video, frames = workload.job(position)
    for _ in decode_each(video.path, np.unique(frames), exact_seek=video.exact_seek):
        pass


def whole(workload: Workload, position: int) -> None:
    """Makes a whole sample: weak and strong views."""
    TrainSource(planner=workload.planner, media=Media.VIEWS, batch_size=1).sample(position)


WORK = {"decode": decode, "whole": whole}


def timed(files: dict[str, list[Path]], *, num_samples: int, num_rounds: int) -> dict[str, dict[str, Any]]:
    """Measures processor seconds a sample, {arm: {work: median and quartiles over the rounds}}; all take turns."""
    workloads = {}
    for arm in arms():
        geometry = dataclasses.replace(GEOMETRY, start_multiple=arm.start_multiple)
        workloads[str(arm)] = workload_of(files[str(arm)], num_samples=num_samples, geometry=geometry)
    seconds: dict[tuple[str, str], list[float]] = {(name, work): [] for name in workloads for work in WORK}
    for number in range(num_rounds + 1):
        totals = dict.fromkeys(seconds, 0.0)
        for position in range(num_samples):  # arm after arm within a sample: what disturbs one disturbs all
            for name, work in _turned(list(seconds), number + position):
                begin = time.thread_time()
                WORK[work](workloads[name], position)
                totals[name, work] += time.thread_time() - begin
        if number:  # the first one warms up
            for key, total in totals.items():
                seconds[key].append(total / num_samples)
    return {name: {work: summarize(seconds[name, work]) for work in WORK} for name in workloads}


def _turned(items: list[Any], by: int) -> Iterator[Any]:
    at = by % len(items)
    yield from items[at:] + items[:at]


def run(
    sets: dict[str, Sequence[Path]],
    *,
    num_samples: int,
    num_rounds: int,
    note: Callable[[str], None] = click.echo,
) -> Row:
    """Measures all forms over all sets of videos."""
    result: Row = {"sets": {}}
    for name, originals in sets.items():
        with tempfile.TemporaryDirectory() as folder:
            files, rows = encoded(originals, Path(folder), note)
            times = timed(files, num_samples=num_samples, num_rounds=num_rounds)
        for row in ({"arm": "original"}, *rows):
            row |= {f"{work}_cpu": found for work, found in times[row["arm"]].items()}
            result["sets"].setdefault(name, {"num_videos": len(files["original"]), "rows": []})["rows"].append(row)
        show(name, result["sets"][name]["rows"], note)
    rows = result["sets"].get(REAL, result["sets"][OWN])["rows"]
    chosen = [crf for crf in SWEEP[Form.INTRA] if psnr_of(rows, Form.INTRA, crf) >= LEAST_PSNR_DB]
    result["intra_crf_of_40_db"] = max(chosen, default=None)
    result["kinetics_hours_of_one_core"] = {
        row["arm"]: row["prepare_cpu_seconds_per_video"] * KINETICS_VIDEOS / 3600
        for row in result["sets"].get(OWN, {"rows": []})["rows"]
        if "size_ratio" in row
    }
    return result


def psnr_of(rows: Sequence[Row], form: Form, crf: int) -> float:
    """Finds the median PSNR of a form at a crf."""
    name = str(Arm(settings=Settings(form=form, crf=crf)))
    return float(next(row["psnr_db"]["median"] for row in rows if row["arm"] == name))


def show(name: str, rows: Sequence[Row], note: Callable[[str], None]) -> None:
    """Prints one set's table."""
    note(f"\n{name} videos: size, PSNR median (lowest), decode and whole sample in ms of processor time (quartiles)")
    for row in rows:
        times = "  ".join(
            f"{1e3 * found['median_seconds']:5.1f} "
            f"({1e3 * found['lower_quartile_seconds']:.1f}-{1e3 * found['upper_quartile_seconds']:.1f})"
            for found in (row["decode_cpu"], row["whole_cpu"])
        )
        quality = ""
        if "size_ratio" in row:
            psnr, speed = row["psnr_db"], 1 / row["prepare_cpu_seconds_per_video"]
            quality = f"  {row['size_ratio']:.2f}  {psnr['median']:.1f} ({psnr['lowest']:.1f}) dB  {speed:.1f} videos/s"
        note(f"  {row['arm']:<16} {times}{quality}")


def clips_of(folder: Path, num_videos: int) -> list[Path]:
    """Draws videos of a folder and all below it, always the same ones."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise click.UsageError(f"FOLDER: received {folder}, without a video; accepted: a folder with some below it")
    drawn = np.random.default_rng(0).permutation(len(found))[:num_videos]
    return [found[index] for index in sorted(drawn.tolist())]


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--clips", "num_clips", default=100, show_default=True, help="Videos drawn of FOLDER.")
@click.option("--videos", "num_videos", default=4, show_default=True, help="Videos of the benchmark's own.")
@click.option("--samples", "num_samples", default=12, show_default=True, help="Planned samples of each set.")
@click.option("--rounds", "num_rounds", default=5, show_default=True, help="Rounds in which the forms take turns.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(
    folder: Path | None,
    num_clips: int,
    num_videos: int,
    num_samples: int,
    num_rounds: int,
    json_path: Path | None,
) -> None:
    """Measure the forms of prepared files over the benchmark's own videos and real clips."""
    os.environ["OMP_NUM_THREADS"] = "1"
    own = make_videos(cache_root() / "benchmarks", num_videos=num_videos, kinds=(ORIGINAL,))[ORIGINAL]
    sets: dict[str, Sequence[Path]] = {OWN: own}
    if folder is not None:
        sets[REAL] = clips_of(folder, num_clips)
    result = run(sets, num_samples=num_samples, num_rounds=num_rounds)
    click.echo(f"\nintra: {LEAST_PSNR_DB:.0f} dB at crf {result['intra_crf_of_40_db']} and below")
    for arm, hours in result["kinetics_hours_of_one_core"].items():
        click.echo(f"{arm}: {hours:.0f} hours of one core for {KINETICS_VIDEOS} videos, an estimate")
    if json_path:
        settings = {"num_samples": num_samples, "num_rounds": num_rounds}
        save_json(json_path, {"benchmark": "forms", "environment": environment(), **settings, **result})


if __name__ == "__main__":
    main()
