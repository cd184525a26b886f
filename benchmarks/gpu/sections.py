"""Sections of the GPU suite except decoding and computing: each yields what it finds, piece by piece."""

import ctypes
import dataclasses
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from benchmarks.gpu.setup import Found, Suite, decoded

PAPER_ITERATIONS, PAPER_BATCH = 300_000, 192
"""Kinetics-400 with 1 % of labels: 200 epochs of 240 k videos, 160 unlabeled ones an iteration (Sec. 4.1)."""


def probe(suite: Suite) -> Found:
    """Asks whether NVDEC is there and decodes one H.264 file."""
    import torch

    from pipelines.loading.nvdec import nvdec_problem

    yield "torch_sees_gpu", torch.cuda.is_available()
    yield "nvdec_problem", nvdec_problem()
    try:
        ctypes.CDLL("libnvcuvid.so.1")
        yield "libnvcuvid", "loads"
    except OSError as error:
        yield "libnvcuvid", str(error)
    kind, paths = next(iter(suite.videos().items()))
    frames = np.arange(0, 32, 8, dtype=np.int32)
    begin = time.perf_counter()
    shown = decoded([(paths[0].read_bytes(), frames)], suite)[0]
    yield "first_decode_seconds", time.perf_counter() - begin
    yield "decoded", {"kind": kind, "shape": list(shown.shape)}


def parity(suite: Suite) -> Found:
    """Compares the gpu back end's pixels with the cpu one's on the same plans: frames, weak and strong views."""
    from benchmarks.loaders.decoders import OURS, Setup
    from benchmarks.loaders.workload import BATCH_SIZE, FrozenSource
    from pipelines.loading.engine import Engine
    from pipelines.loading.graph import unlabeled_graph
    from pipelines.loading.sample import Media
    from pipelines.video.cut import cut
    from pipelines.video.frames import decode_frames

    names = ("weak primary", "weak auxiliary", "strong primary", "strong auxiliary")
    for kind, paths in suite.videos().items():
        workload = suite.workload(paths, num_samples=BATCH_SIZE)
        (video, frames), height = workload.job(0), int(workload.planner.pool.height[0])
        made = cut(video.path, frames, exact_seek=video.exact_seek, for_nvdec=True)
        try:
            ours = decoded([(made.content, np.unique(made.frames))], suite)[0][:, :height]
        except RuntimeError as error:  # the other kinds are asked all the same
            yield f"{kind}: frames", {"raised": str(error).strip()[-600:]}
            continue
        theirs = decode_frames(video.path, np.unique(frames), exact_seek=video.exact_seek)
        bias = (ours - theirs.astype(float)).mean((0, 1, 2)).tolist()
        yield f"{kind}: frames", difference(ours, theirs) | {"bias": bias}
        views = []
        for engine in (suite.engine(num_workers=0), Engine(media=Media.FRAMES)):
            source = FrozenSource(
                planner=workload.planner,
                media=engine.media,
                batch_size=BATCH_SIZE,
                setup=Setup(loader=OURS),
                num_samples=BATCH_SIZE,
            )
            outputs = unlabeled_graph(source, engine=engine).run()
            views.append([np.array(view.as_cpu().as_array()) for view in outputs[:4]])
        for name, a, b in zip(names, *views, strict=True):
            yield f"{kind}: {name}", difference(a, b)


def difference(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Gives the mean and largest absolute difference, of 255, and the share of pixels more than 8 apart."""
    apart = np.abs(a.astype(np.int16) - b)
    return {"mean": float(apart.mean()), "max": int(apart.max()), "share_over_8": float((apart > 8).mean())}


def augment(suite: Suite) -> Found:
    """Runs `benchmarks.loaders.augment`: DALI's graph on the GPU beside the workers' numpy."""
    from benchmarks.loaders.augment import run

    num_videos, num_rounds = (2, 1) if suite.cpu else (12, 5)
    yield "rows", run(suite.folder / "videos", num_videos=num_videos, num_rounds=num_rounds, whole_only=suite.cpu)


def loaders(suite: Suite) -> Found:
    """Runs `benchmarks.loaders.on_gpu`."""
    from benchmarks.loaders.on_gpu import TABLE_BATCH, run_gpu

    for kind, paths in suite.videos().items():
        yield (
            kind,
            run_gpu(
                {kind: paths},
                num_samples=4 if suite.cpu else 64,
                num_rounds=1 if suite.cpu else 5,
                folder=suite.folder,
                note=click.echo,
                engine=suite.engine(),
                geometry=suite.geometry(),
                batch_size=4 if suite.cpu else TABLE_BATCH,
            ),
        )


def training(suite: Suite) -> Found:
    """Trains on the made files, decoded by NVDEC and by the workers: videos a second, the share of waiting, and the
    paper's schedule at that rate."""
    from cmpl.config import with_settings
    from cmpl.recipes.kinetics import k400
    from cmpl.session import train
    from cmpl.training.reporter import Reporter

    kinds = list(suite.videos().items())[1::-1]
    for (kind, paths), backend in itertools.product(kinds, ("cpu",) if suite.cpu else ("gpu", "cpu")):
        with tempfile.TemporaryDirectory(dir=suite.folder) as folder:
            for part, (k, path) in itertools.product(("train", "val"), enumerate(paths)):
                link = Path(folder, part, "ab"[k % 2], path.name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
            data = {"data.dataset": "folder", "data.root": folder, "data.labeled": "1", "runtime.backend": backend}
            config = with_settings(k400(), data | (TINY if suite.cpu else ONE_GPU))
            train(config, path=Path(folder, "run"), reporter=Reporter())
            lines = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
        steady = [line for line in lines if "videos_per_second" in line][1:]  # the first ones warm up
        rate = statistics.median(line["videos_per_second"] for line in steady)
        yield (
            f"{kind}, decoded on the {backend}",
            {
                "videos_per_second": rate,
                "wait_share": statistics.median(line["wait_share"] for line in steady),
                "paper_schedule_hours": PAPER_ITERATIONS * PAPER_BATCH / rate / 3600,
            },
        )


ONE_GPU = {
    "batch.labeled": "8",
    "batch.unlabeled": "40",
    "optim.steps": "24",
    "runtime.log_every_steps": "6",
    "evaluation.clips": "1",
    "evaluation.crops": "1",
}
TINY = ONE_GPU | {
    "batch.labeled": "1",
    "batch.unlabeled": "2",
    "optim.steps": "4",
    "runtime.log_every_steps": "2",
    "runtime.workers": "0",
    "runtime.device": "cpu",
    "evaluation.short_side": "32",
    "clip.primary": "4x8",
    "clip.auxiliary": "8x4",
    "clip.crop_size": "28",
    "clip.short_side": "32",
    "clip.short_side_jitter": "32,40",
    "primary.depth": "10",
    "primary.width": "0.125",
    "auxiliary.depth": "10",
    "auxiliary.width": "0.125",
}


def corrupt(suite: Suite) -> Found:
    """Puts broken files among good ones: are they named, and do batches go on?"""
    from pipelines.loading.loader import StreamLoader
    from pipelines.loading.sample import Media
    from pipelines.loading.source import TrainSource

    paths = next(iter(suite.videos().values()))
    workload = suite.workload(paths[:2], num_samples=4)
    engine = suite.engine(num_workers=0)
    for name, damage in DAMAGES.items():
        broken = suite.folder / f"broken-{name.replace(' ', '-')}.mp4"
        broken.write_bytes(damage(paths[1].read_bytes()))
        planner = workload.planner
        pool = dataclasses.replace(planner.pool, paths=(planner.pool.paths[0], str(broken)))
        source = TrainSource(planner=dataclasses.replace(planner, pool=pool), media=Media.CUTS, batch_size=4)
        begin = time.perf_counter()
        try:
            with StreamLoader(source, engine=engine) as stream:
                for _ in range(4):
                    next(stream)
                outcome: dict[str, object] = {"problems": list(stream.problems.values())}
        except Exception as error:  # the outcome that is looked for
            outcome = {"raised": f"{type(error).__name__}: {str(error).strip()[-300:]}"}
        yield name, outcome | {"seconds": time.perf_counter() - begin}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 3],
    "zeros in the middle": lambda content: (
        content[: len(content) // 3] + bytes(len(content) // 3) + content[len(content) // 3 * 2 :]
    ),
    "no video": lambda content: b"not a video" * 1000,
}
