"""What the GPU suite asks, one function a question; each yields what it finds piece by piece."""

import ctypes
import dataclasses
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import click
import numpy as np

PAPER_ITERATIONS, PAPER_BATCH = 300_000, 192
"""Kinetics-400 with 1 % of labels: 200 epochs of 240 k videos, 160 unlabelled ones an iteration (Sec. 4.1)."""
Found = Iterator[tuple[str, object]]
"""What a section finds, piece by piece: (name, anything that JSON takes)."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What all sections share: where the files are, and whether there is a GPU."""

    folder: Path
    cpu: bool

    @property
    def device_index(self) -> int | None:
        """The GPU's number."""
        return None if self.cpu else 0

    def geometry(self):
        """The paper's, or a small one."""
        from pipelines.geometry import ClipShape, Geometry

        if not self.cpu:
            return Geometry(max_offset_seconds=10.0)
        shapes = {"primary": ClipShape(4, 8), "auxiliary": ClipShape(8, 4)}
        return Geometry(**shapes, crop_size=28, short_side=32, short_side_jitter=(32, 40), max_offset_seconds=1.0)

    def videos(self, num_videos: int = 8) -> dict[str, list[Path]]:
        """{kind: files}: H.264 of all kinds, or small VP9 that DALI decodes without a GPU."""
        from benchmarks.videos import make_videos, write_video

        if not self.cpu:
            return make_videos(self.folder / "videos", num_videos=num_videos)
        paths = [self.folder / f"vp9-{k}.mp4" for k in range(2)]
        for k, path in enumerate(paths):
            if not path.exists():
                options = {"g": "20", "deadline": "realtime", "cpu-used": "8"}
                write_video(path, num_frames=60, size=(64, 48), seed=k, codec="libvpx-vp9", options=options)
        return {"VP9": paths}

    def engine(self, **changes):
        """The gpu back end as it is run here."""
        from pipelines.graph import Engine

        number = 1 if self.cpu else 8
        options = {"num_workers": number, "num_threads": number} | changes
        return Engine(media="cuts", device_index=self.device_index, **options)

    def workload(self, paths: list[Path], *, num_samples: int):
        """The frozen list of plans over some files."""
        from benchmarks.workload import workload_of

        return workload_of(paths, num_samples=num_samples, geometry=self.geometry())


def probe(suite: Suite) -> Found:
    """Is NVDEC there, and does it decode one H.264 file?"""
    import torch

    from cmpl.training.runtime import nvdec_problem

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
    pictures = decoded([(paths[0].read_bytes(), frames)], suite)[0]
    yield "first_decode_seconds", time.perf_counter() - begin
    yield "decoded", {"kind": kind, "shape": list(pictures.shape)}


def parity(suite: Suite) -> Found:
    """The gpu back end's pixels beside the cpu one's, on the same plans: frames, weak and strong views."""
    from benchmarks.peers import OURS, Setup
    from benchmarks.workload import BATCH_SIZE, FrozenSource
    from pipelines.decode import decode_frames
    from pipelines.graph import Engine, unlabeled_graph

    names = ("weak primary", "weak auxiliary", "strong primary", "strong auxiliary")
    for kind, paths in suite.videos().items():
        workload = suite.workload(paths, num_samples=BATCH_SIZE)
        job = workload.job(0)
        ours = decoded([(Path(job[0].path).read_bytes(), job[1])], suite)[0]
        yield f"{kind}: frames", difference(ours, decode_frames(job[0].path, job[1], exact_seek=job[0].exact_seek))
        views = []
        for engine in (suite.engine(num_workers=0), Engine(media="frames")):
            source = FrozenSource(
                planner=workload.planner,
                media=engine.media,
                batch_size=BATCH_SIZE,
                setup=Setup(peer=OURS),
                num_samples=BATCH_SIZE,
            )
            outputs = unlabeled_graph(source, geometry=workload.planner.geometry, engine=engine).run()
            views.append([np.array(view.as_cpu().as_array()) for view in outputs[:4]])
        for name, a, b in zip(names, *views, strict=True):
            yield f"{kind}: {name}", difference(a, b)


def difference(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Mean and largest absolute difference, of 255, and how many pixels are further than 8 apart."""
    apart = np.abs(a.astype(np.int16) - b)
    return {"mean": float(apart.mean()), "max": int(apart.max()), "share_over_8": float((apart > 8).mean())}


def decode_time(suite: Suite) -> Found:
    """Against the clip's start: whole files beside cuts, and what cutting costs the processor."""
    from pipelines.gops import cut

    shape, num_frames = suite.geometry().auxiliary, 60 if suite.cpu else 300
    for kind, paths in suite.videos().items():
        for start in np.linspace(0, num_frames - shape.span_frames, 2 if suite.cpu else 5).astype(int).tolist():
            frames = shape.frames(start, num_video_frames=num_frames)
            cpu_before = time.process_time()
            cuts = [cut(path, frames, exact_seek=True) for path in paths]
            cut_seconds = (time.process_time() - cpu_before) / len(paths)
            yield (
                f"{kind}: start {start}",
                {
                    "whole_seconds": seconds_per_video([(path.read_bytes(), frames) for path in paths], suite),
                    "cut_seconds": seconds_per_video([(c.content, c.frames) for c in cuts], suite),
                    "cutting_cpu_seconds": cut_seconds,
                },
            )


def sizes(suite: Suite) -> Found:
    """The width that NVDEC's decoders are cached by: 340 against multiples of 16."""
    from benchmarks.videos import write_video

    shape = suite.geometry().auxiliary
    codec = {"codec": "libvpx-vp9"} if suite.cpu else {"options": {"x264-params": "keyint=16:bframes=0:scenecut=0"}}
    widths, height = ((52, 64), 48) if suite.cpu else ((340, 336, 352), 256)
    for width in widths:
        paths = [suite.folder / f"size-{width}x{height}-{k}.mp4" for k in range(2 if suite.cpu else 8)]
        for k, path in enumerate(paths):
            if not path.exists():
                write_video(path, num_frames=70, size=(width, height), seed=k, **codec)
        items = [(path.read_bytes(), shape.frames(0, num_video_frames=70)) for path in paths]
        yield f"{width}x{height}", {"seconds_per_video": seconds_per_video(items, suite)}


def threads(suite: Suite) -> Found:
    """DALI's decoding threads, 1 to 16, on cuts of the planned clips in batches of 32: pictures a second, and the share
    that they are of what NVDEC decodes where every thread has one long stream, up to 8, from start to end."""
    from benchmarks.loaders import num_packets
    from pipelines.gops import cut

    num_frames, numbers = (60, (1, 2)) if suite.cpu else (300, (1, 2, 4, 7, 8, 12, 16))
    for kind, paths in suite.videos().items():
        jobs = suite.workload(paths, num_samples=4 if suite.cpu else 32).jobs()
        cuts = [cut(video.path, frames, exact_seek=video.exact_seek) for video, frames in jobs]
        items = [(made.content, made.frames) for made in cuts]
        pictures_a_video = sum(num_packets(made.content) for made in cuts) / len(cuts)
        streams = [(path.read_bytes(), np.arange(num_frames, dtype=np.int32)) for path in paths]
        for number in numbers:
            videos_per_second = 1 / seconds_per_video(items, suite, num_threads=number)
            most = num_frames / seconds_per_video(streams[:number], suite, num_threads=number, num_repeats=3)
            rate = pictures_a_video * videos_per_second
            yield (
                f"{kind}: {number}",
                {
                    "videos_per_second": videos_per_second,
                    "pictures_per_second": rate,
                    "long_streams_pictures_per_second": most,
                    "share": rate / most,
                },
            )


def decoding_pipeline(items: list[tuple[bytes, np.ndarray]], suite: Suite, *, num_threads: int):
    """DALI's decoder on the same files in every batch."""
    from nvidia.dali import fn, pipeline_def

    from pipelines.graph import Engine, decode

    contents = [np.frombuffer(content, dtype=np.uint8) for content, _ in items]
    indices = [frames.astype(np.int32) for _, frames in items]

    @pipeline_def(batch_size=len(items), num_threads=num_threads, device_id=suite.device_index, exec_dynamic=True)
    def graph():
        return decode(fn.external_source(source=lambda: (contents, indices), num_outputs=2), Engine(media="cuts"))

    pipeline = graph()
    pipeline.build()
    return pipeline


def decoded(items: list[tuple[bytes, np.ndarray]], suite: Suite) -> list[np.ndarray]:
    """The frames (F, H, W, 3) of each."""
    (clips,) = decoding_pipeline(items, suite, num_threads=1).run()
    return [np.array(clips.as_cpu().at(i)) for i in range(len(items))]


def seconds_per_video(
    items: list[tuple[bytes, np.ndarray]], suite: Suite, *, num_threads: int = 8, num_repeats: int = 7
) -> float:
    """Median over batches, in the steady state."""
    pipeline, samples = decoding_pipeline(items, suite, num_threads=num_threads), []
    for _ in range(num_repeats + 3):
        begin = time.perf_counter()
        pipeline.run()
        _synchronize(suite)
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples[3:]) / len(items)


def _synchronize(suite: Suite) -> None:
    if not suite.cpu:
        import torch

        torch.cuda.synchronize()


def augment(suite: Suite) -> Found:
    """The table of `benchmarks.augment`: DALI's graph on the GPU beside what reading processes do."""
    from benchmarks.augment import run

    num_videos, num_rounds = (2, 1) if suite.cpu else (12, 5)
    yield "rows", run(suite.folder / "videos", num_videos=num_videos, num_rounds=num_rounds, whole_only=suite.cpu)


def loaders(suite: Suite) -> Found:
    """The table of `benchmarks.gpu_peers`."""
    from benchmarks.gpu_peers import run_gpu

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
            ),
        )


def step(suite: Suite) -> Found:
    """The table of `benchmarks.step`."""
    from benchmarks import step as benchmark

    chosen = benchmark.cases(on_gpu=not suite.cpu)[: 1 if suite.cpu else None]
    with mock.patch.object(benchmark, "cases", return_value=chosen):
        result = benchmark.run(num_repeats=1 if suite.cpu else 10, compiled=False)
    yield "peak_tflops", result["peak_tflops"]
    yield "rows", result["rows"]


def training(suite: Suite) -> Found:
    """The trainer itself on the made files: videos a second, the share of waiting, and the paper's schedule at that."""
    from cmpl.config import with_settings
    from cmpl.recipes.kinetics import k400
    from cmpl.session import train
    from cmpl.training.reporter import Reporter

    for kind, paths in list(suite.videos().items())[:2]:
        with tempfile.TemporaryDirectory(dir=suite.folder) as folder:
            for part, (k, path) in itertools.product(("train", "val"), enumerate(paths)):
                link = Path(folder, part, "ab"[k % 2], path.name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
            data = {"data.dataset": "folder", "data.root": folder, "data.labeled": "1"}
            config = with_settings(k400(), data | (TINY if suite.cpu else ONE_GPU))
            train(config, path=Path(folder, "run"), reporter=Reporter())
            lines = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
        steady = [line for line in lines if "videos_per_second" in line][1:]  # the first ones warm up
        rate = statistics.median(line["videos_per_second"] for line in steady)
        yield (
            kind,
            {
                "videos_per_second": rate,
                "wait_share": statistics.median(line["wait_share"] for line in steady),
                "paper_schedule_hours": PAPER_ITERATIONS * PAPER_BATCH / rate / 3600,
            },
        )


ONE_GPU = {
    "batch.labeled": "8",
    "batch.unlabeled": "40",
    "optim.steps": "40",
    "runtime.log_every_steps": "8",
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
    """Broken files among good ones: are they named, and do batches go on?"""
    from pipelines.graph import unlabeled_graph
    from pipelines.loader import StreamLoader
    from pipelines.source import TrainSource

    paths = next(iter(suite.videos().values()))
    workload = suite.workload(paths[:2], num_samples=4)
    engine = suite.engine(num_workers=0)
    for name, damage in DAMAGES.items():
        broken = suite.folder / f"broken-{name.replace(' ', '-')}.mp4"
        broken.write_bytes(damage(paths[1].read_bytes()))
        planner = workload.planner
        pool = dataclasses.replace(planner.pool, paths=(planner.pool.paths[0], str(broken)))
        source = TrainSource(planner=dataclasses.replace(planner, pool=pool), media="cuts", batch_size=4)
        begin = time.perf_counter()
        try:
            stream = StreamLoader(source, unlabeled_graph, geometry=planner.geometry, engine=engine)
            for _ in range(4):
                next(stream)
            outcome = {"problems": list(stream.problems.values())}
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
