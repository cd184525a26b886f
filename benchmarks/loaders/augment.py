"""Compares views made by workers with those of DALI's graph, from the same decoded frames.

One thread, the same frames in memory, the paper's geometry. First a gate: views must agree to 2 of 255 in the mean.
Measures the whole augmentation, then a strong view with each of RandAugment's operations alone. With a GPU, DALI's
graph runs there too, in batches like a training step's.

    python -m benchmarks.loaders.augment [--rounds 7] [--json FILE]
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
import torch

from benchmarks.environment import environment, save_json, summarize
from benchmarks.loaders.videos import ORIGINAL, make_videos
from benchmarks.loaders.workload import GEOMETRY, workload_of
from benchmarks.replay import ReplaySource
from pipelines.cache import cache_root
from pipelines.loading.engine import Engine
from pipelines.loading.graph import unlabeled_graph
from pipelines.loading.parameters import parameters
from pipelines.loading.sample import Frames, Ids, Media, Sample
from pipelines.loading.source import TrainSource, picture_size
from pipelines.plan.planner import Planner
from pipelines.plan.rand_augment import RAND_AUGMENT_OPS, StrongSpec
from pipelines.video.frames import decode_each, decode_frames
from pipelines.views.make import views_of, wanted_frames

MAX_DIFFERENCE = 2.0
"""Gray levels of 255, mean over a view."""
WORKER, DALI_CPU, DALI_GPU = "worker", "DALI, CPU", "DALI, GPU"


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """Planned videos whose frames are in memory, in the form that each way wants."""

    planner: Planner
    frames_by_slot: list[list[tuple[int, av.VideoFrame]]]  # as `pipelines.views.make` takes them
    frames: list[np.ndarray]  # (F, H, W, 3), as DALI's graph takes them

    @property
    def batch_size(self) -> int:
        """Number of videos; each way makes all their views at once."""
        return len(self.frames)

    def source(self) -> ReplaySource:
        """Makes the source of DALI's graph."""
        plans = [self.planner.plan(position) for position in range(self.batch_size)]
        samples = [
            Sample(
                Frames.of(frames),
                parameters(plan, self.planner.pool.picture(plan.video)),
                Ids(number=plan.position, video=plan.video, label=-1),
            )
            for plan, frames in zip(plans, self.frames, strict=True)
        ]
        return ReplaySource(planner=self.planner, media=Media.FRAMES, batch_size=self.batch_size, batch=samples)

    def views(self) -> list[list[np.ndarray]]:
        """Makes each video's views as workers do."""
        source, made = TrainSource(planner=self.planner, media=Media.VIEWS, batch_size=self.batch_size), []
        for position, by_slot in enumerate(self.frames_by_slot):
            plan = self.planner.plan(position)
            views, size = source.views(plan), picture_size(self.planner.pool, plan.video)
            made.append(views_of(by_slot, views, wanted_frames(views), picture_size=size))
        return made


def decoded_videos(planner: Planner, *, num_videos: int) -> Decoded:
    """Decodes the first videos of a plan."""
    by_slot, frames = [], []
    for position in range(num_videos):
        plan = planner.plan(position)
        path, exact_seek = planner.pool.paths[plan.video], bool(planner.pool.exact_seek[plan.video])
        by_slot.append(list(decode_each(path, np.unique(plan.frames), exact_seek=exact_seek)))
        frames.append(decode_frames(path, plan.frames, exact_seek=exact_seek))
    return Decoded(planner=planner, frames_by_slot=by_slot, frames=frames)


def ways(decoded: Decoded, *, num_threads: int) -> dict[str, Callable[[], Sequence[Any]]]:
    """Gives {name: function that makes all views of all videos once and returns them}."""

    def dali(device_index: int | None) -> Callable[[], Sequence[Any]]:
        engine = Engine(media=Media.FRAMES, device_index=device_index, num_threads=num_threads, prefetch_batches=1)
        pipeline = unlabeled_graph(decoded.source(), engine=engine)

        def run() -> Sequence[Any]:
            outputs = pipeline.run()
            if device_index is not None:
                torch.cuda.synchronize(device_index)
            return outputs[:4]

        return run

    made = {WORKER: decoded.views, DALI_CPU: dali(None)}
    return made | ({DALI_GPU: dali(0)} if torch.cuda.is_available() else {})


def differences(made: dict[str, Callable[[], Sequence[Any]]]) -> dict[str, float]:
    """Gives each way's largest mean absolute difference (of 255) from the workers' views."""
    ours = made[WORKER]()
    found = {}
    for name, make in made.items():
        if name != WORKER:
            theirs = [np.array(view.as_cpu().as_array()).astype(np.int16) for view in make()]
            found[name] = max(
                float(np.abs(views[k] - theirs[k][video]).mean()) for video, views in enumerate(ours) for k in range(4)
            )
    return found


def measure(
    made: dict[str, Callable[[], Sequence[Any]]], *, num_videos: int, num_rounds: int
) -> dict[str, dict[str, Any]]:
    """Measures the seconds a video of each way, in turns."""
    samples: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(num_rounds + 1):
        for name, make in made.items():
            begin = time.perf_counter()
            make()
            samples[name].append((time.perf_counter() - begin) / num_videos)
    return {name: summarize(seconds[1:]) for name, seconds in samples.items()}


def run(
    folder: Path,
    *,
    num_videos: int,
    num_rounds: int,
    whole_only: bool = False,
    note: Callable[[str], None] = click.echo,
) -> list[dict[str, Any]]:
    """Measures the paper's augmentation, and each operation alone: a row each."""
    paths = make_videos(folder, num_videos=4, kinds=(ORIGINAL,))[ORIGINAL]
    planner = workload_of(paths, num_samples=num_videos, geometry=GEOMETRY).planner
    decoded = decoded_videos(planner, num_videos=num_videos)
    cases = {"weak and strong, 2 of 14 operations": StrongSpec()}
    if not whole_only:
        cases |= {f"{op} alone": StrongSpec(ops=(op,), num_ops=1, cutout_fraction=0.0) for op in RAND_AUGMENT_OPS}
    rows = []
    for case, strong in cases.items():
        planned = dataclasses.replace(planner, strong=strong)  # the same frames and boxes
        made = ways(dataclasses.replace(decoded, planner=planned), num_threads=1)
        apart = differences(made)
        far = {name: value for name, value in apart.items() if value > MAX_DIFFERENCE}
        if far:
            raise click.ClickException(f"{case}: views differ by {far} of 255 in the mean; at most {MAX_DIFFERENCE}")
        measured = measure(made, num_videos=num_videos, num_rounds=num_rounds)
        rows += [{"case": case, "way": name, "difference": apart.get(name)} | row for name, row in measured.items()]
        times = ", ".join(f"{name} {1e3 * row['median_seconds']:.1f} ms" for name, row in measured.items())
        note(f"{case}: {times} a video; difference {max(apart.values()):.2f}")
    return rows


@click.command()
@click.option("--videos", "num_videos", default=12, show_default=True, help="Planned videos in a batch.")
@click.option("--rounds", "num_rounds", default=7, show_default=True, help="Rounds in which the ways take turns.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the files are kept (default: the cache).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(num_videos: int, num_rounds: int, folder: Path | None, json_path: Path | None) -> None:
    """Compare the workers' weak and strong views with DALI's graph."""
    torch.set_num_threads(1)
    rows = run(folder or cache_root() / "benchmarks", num_videos=num_videos, num_rounds=num_rounds)
    if json_path:
        record = {"benchmark": "augment", "environment": environment(), "num_videos": num_videos, "rows": rows}
        save_json(json_path, record)


if __name__ == "__main__":
    main()
