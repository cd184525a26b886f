"""Predicts videos a second of each stage on a GPU that is not here: `cmpl bench-loader --model`. No measurement.

Published figures (`bench_loader.gpus`) times what the planned videos need (`bench_loader.planned`). Whatever is not
published is an assumption, in two sets: `BEST`, and `CAREFUL`, which holds what an H100 was seen to do
(benchmarks/results/gpu_suite_h100.json). The truth is expected between both.

Workers, PCIe, NVDEC and the other units of the GPU work side by side; views and the step share those other units, so
their times add up. Rates are videos a second of one GPU; seconds are seconds a video.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.bench_loader.gpus import Gpu
from benchmarks.bench_loader.planned import PlannedVideo
from cmpl.config import Config

ENOUGH_WAIT_SHARE = 0.02
"""Waiting below this share is not worth a change."""
WASTEFUL = 2.0
"""Frames decoded for each one shown above which `cmpl prepare` is worth its time."""
RGB, YUV = 3.0, 1.5
"""Bytes of a pixel, 8 bit."""


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What NVIDIA does not publish. Shares are of the published peaks."""

    name: str
    nvdec_share: float
    """NVDEC's rate in pixels on small frames, of that at 1920x1080."""
    frame_seconds: float
    """Cost of a frame of any size on its engine: parser and driver."""
    stream_seconds: float
    """Cost of one cut that neither engines nor threads share: a decoder found or made, a parser, buffers."""
    pcie_share: float
    memory_share: float
    step_share: float
    """The training step's rate, of the dense bf16 peak."""
    batch_seconds: float
    """Least seconds of a step on a batch of any size: some thousand kernels are launched one after another."""


BEST = Assumptions(
    name="at best",
    nvdec_share=1.0,
    frame_seconds=0.0,
    stream_seconds=0.0,
    pcie_share=0.8,
    memory_share=0.6,
    step_share=1 / 3,
    batch_seconds=5e-3,
)
CAREFUL = Assumptions(
    name="carefully",
    nvdec_share=0.5,
    frame_seconds=100e-6,
    stream_seconds=10.5e-3,
    pcie_share=0.4,
    memory_share=0.2,
    step_share=0.045,
    batch_seconds=30e-3,
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one video of a batch needs on average, and who works on it."""

    videos: Sequence[PlannedVideo]
    view_bytes: float
    """GPU memory read and written for its views."""
    step_flops: float
    videos_per_batch: int
    num_workers: int
    num_threads: int
    """DALI's decoding threads: each keeps one NVDEC engine busy."""

    def mean(self, name: str) -> float:
        """The mean of one of the videos' figures."""
        return sum(getattr(video, name) for video in self.videos) / len(self.videos)

    @property
    def decoded_per_wanted(self) -> float:
        """Frames decoded for each frame that clips show."""
        return self.mean("num_decoded") / self.mean("num_wanted")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Seconds a video of each part on one GPU, under one set of assumptions."""

    assumptions: str
    cut: float
    pcie: float
    nvdec: float
    views: float
    step: float

    @property
    def rates(self) -> dict[str, float]:
        """{part: videos a second}, single stages and then the whole."""
        seconds = {"read and cut": self.cut, "PCIe": self.pcie, "decode, NVDEC": self.nvdec, "views": self.views}
        seconds |= {"loader": self.loader, "training step": self.step, "training": self.training}
        return {name: 1 / value for name, value in seconds.items()}

    @property
    def loader(self) -> float:
        """The loader alone: its slowest stage."""
        return max(self.cut, self.pcie, self.nvdec, self.views)

    @property
    def training(self) -> float:
        """Training: the slowest of the loader's stages, or views and step together."""
        return max(self.cut, self.pcie, self.nvdec, self.views + self.step)

    @property
    def wait_share(self) -> float:
        """Share of training's time in which the step waits for data."""
        return 1 - (self.views + self.step) / self.training

    @property
    def limit(self) -> str:
        """The slowest part: cut, pcie, nvdec or step."""
        parts = {"step": self.views + self.step, "cut": self.cut, "pcie": self.pcie, "nvdec": self.nvdec}
        return max(parts, key=parts.__getitem__)


def predict(gpu: Gpu, work: Work, assumed: Assumptions) -> Prediction:
    """Predicts the seconds a video of each part. Raises KeyError for a codec without a published rate."""
    engines = min(work.num_threads, gpu.num_decoders)
    nvdec = sum(nvdec_seconds(gpu, video, assumed) for video in work.videos) / len(work.videos)
    return Prediction(
        assumptions=assumed.name,
        cut=work.mean("cut_seconds") / max(1, work.num_workers),
        pcie=work.mean("num_bytes") / (gpu.pcie_bytes_per_second * assumed.pcie_share),
        nvdec=nvdec / engines + assumed.stream_seconds,
        views=work.view_bytes / (gpu.memory_bytes_per_second * assumed.memory_share),
        step=max(
            work.step_flops / (gpu.bf16_tflops * 1e12 * assumed.step_share),
            assumed.batch_seconds / work.videos_per_batch,
        ),
    )


def nvdec_seconds(gpu: Gpu, video: PlannedVideo, assumed: Assumptions) -> float:
    """Seconds of one engine for one video's cut: pixels at the published rate, and a cost a frame.

    Raises KeyError for a codec without a published rate.
    """
    rate = gpu.decoded_pixels_per_second(video.codec) * assumed.nvdec_share
    return video.num_decoded * (video.num_pixels / rate + assumed.frame_seconds)


def work_of(config: Config, videos: Sequence[PlannedVideo], *, num_classes: int, workers: int, threads: int) -> Work:
    """What a configuration needs a video, averaged over a batch's labeled and unlabeled ones."""
    from cmpl.recipes.cost import multiply_adds, passes_a_video
    from cmpl.registries import method_class
    from pipelines.plan.geometry import ClipShape

    kind, (of_labeled, of_unlabeled) = method_class(config.method.name), passes_a_video(config.method)
    labeled, unlabeled = config.batch.labeled, config.batch.unlabeled if kind.uses_unlabeled else 0
    total = labeled + unlabeled
    shapes = [config.clip.primary, config.clip.auxiliary if kind.has_auxiliary_network else None]
    num_frames = sum(ClipShape.parse(shape).num_frames for shape in shapes if shape)
    pixels = sum(video.num_pixels for video in videos) / len(videos)
    standard = view_bytes(num_frames, pixels, crop_size=config.clip.crop_size, num_ops=0)
    weak_and_strong = standard + view_bytes(
        num_frames, pixels, crop_size=config.clip.crop_size, num_ops=2 + config.clip.strong_num_ops
    )
    converted = num_frames * pixels * (YUV + RGB)  # NVDEC's output to RGB
    passes = (of_labeled * labeled + of_unlabeled * unlabeled) / total
    return Work(
        videos=videos,
        view_bytes=converted + (standard * labeled + weak_and_strong * unlabeled) / total,
        step_flops=2 * passes * multiply_adds(config, num_classes=num_classes),
        videos_per_batch=total,
        num_workers=workers,
        num_threads=threads,
    )


def view_bytes(num_frames: int, num_pixels: float, *, crop_size: int, num_ops: int) -> float:
    """GPU memory that one kind of view reads and writes: a crop of the whole frame, then each operation in place.

    A strong view has two operations more than RandAugment's: warp and Cutout.
    """
    view = RGB * crop_size**2
    return num_frames * (RGB * num_pixels + view + 2 * view * num_ops)


def crossed(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Each prediction of the loader with each one of the step: both may be off in different directions."""
    return [replace(loader, views=gpu.views, step=gpu.step) for loader in predictions for gpu in predictions]


def advice(gpu: Gpu, work: Work, predictions: Sequence[Prediction]) -> Iterator[str]:
    """Says in sentences what would limit training on this GPU, and what to change."""
    pairs = crossed(predictions)
    shares = sorted(pair.wait_share for pair in pairs)
    rates = sorted(1 / pair.training for pair in pairs)
    yield (
        f"Predicted for one {gpu.name}, not measured: training at {rates[0]:,.0f} to {rates[-1]:,.0f} videos/s. It "
        f"waits for data {100 * shares[0]:.0f} % of the time if the loader is as fast and the step as slow as assumed, "
        f"and {100 * shares[-1]:.0f} % the other way round."
    )
    for limit in dict.fromkeys(pair.limit for pair in pairs if pair.wait_share >= ENOUGH_WAIT_SHARE):
        yield from {"cut": _cut, "pcie": _pcie, "nvdec": _nvdec}[limit](gpu, work, predictions)
    if shares[0] < ENOUGH_WAIT_SHARE:
        yield (
            "Where the step limits, faster loading gains nothing: larger batches (a smaller batch.accumulate) may "
            "bring it nearer to the GPU's peak."
        )


def _cut(gpu: Gpu, work: Work, predictions: Sequence[Prediction]) -> Iterator[str]:
    needed = max(1 / max(p.pcie, p.nvdec, p.views + p.step) for p in predictions)
    number = math.ceil(needed * work.mean("cut_seconds"))
    yield f"Reading and cutting could limit: --workers {number}, if the CPU has as many cores free."


def _pcie(gpu: Gpu, work: Work, predictions: Sequence[Prediction]) -> Iterator[str]:
    yield "PCIe could limit: `cmpl prepare` makes smaller files."


def _nvdec(gpu: Gpu, work: Work, predictions: Sequence[Prediction]) -> Iterator[str]:
    if work.num_threads < gpu.num_decoders:
        yield (
            f"Decoding could limit: {work.num_threads} threads keep {work.num_threads} of {gpu.num_decoders} NVDEC "
            f"engines busy: --set runtime.loader_threads={gpu.num_decoders + 1}."
        )
    elif work.decoded_per_wanted > WASTEFUL:
        yield (
            f"Decoding could limit: {work.decoded_per_wanted:.1f} frames are decoded for each one that a clip shows. "
            "`cmpl prepare` makes files that decode fast at random places."
        )
    else:
        yield (
            "Decoding could limit, with few frames wasted: smaller frames (`cmpl prepare --short-side`) may help, and "
            "so will the workers, as far as there are cores: a trial at the start of training gives them a share."
        )
