"""A GPU's predicted rates for a data set and a configuration, and the grounds of the prediction."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bench_loader.gpus import Gpu
from benchmarks.bench_loader.model import BEST, CAREFUL, Assumptions, Prediction, Work, advice, predict, work_of
from benchmarks.bench_loader.planned import PlannedVideo, planned_videos
from cmpl import build
from cmpl.config import Config
from cmpl.registries import method_class
from pipelines.catalog.dataset import Dataset
from pipelines.errors import InputError
from pipelines.loading.setup import MAX_THREADS, MAX_WORKERS


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The prediction under both sets of assumptions, in sentences and as values."""

    gpu: Gpu
    work: Work
    predictions: tuple[Prediction, ...]
    advice: tuple[str, ...]
    grounds: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything, the predictions with their rates."""
        predictions = [
            dataclasses.asdict(p) | {"rates": p.rates, "wait_share": p.wait_share, "limit": p.limit}
            for p in self.predictions
        ]
        return {
            "measured": False,
            "gpu": dataclasses.asdict(self.gpu),
            "work": dataclasses.asdict(self.work),
            "assumptions": [dataclasses.asdict(assumed) for assumed in (BEST, CAREFUL)],
            "predictions": predictions,
            "advice": self.advice,
            "grounds": self.grounds,
        }


def forecast(config: Config, data: Dataset, gpu: Gpu) -> Forecast:
    """Predicts a GPU's rates. Raises InputError where it has a published rate for none of the videos' codecs."""
    labeled, unlabeled = build.planners(config, data)
    streams = [(labeled, config.batch.labeled)]
    if method_class(config.method.name).uses_unlabeled:
        streams.append((unlabeled, config.batch.unlabeled))
    videos = planned_videos(streams)
    taken = [video for video in videos if video.codec in gpu.decoder.frames_per_second]
    if not taken:
        known = ", ".join(gpu.decoder.frames_per_second)
        raise InputError(f"--model: received no video that the {gpu.name} decodes; accepted: {known}")
    work = work_of(
        config,
        taken,
        num_classes=len(data.classes),
        workers=MAX_WORKERS if config.runtime.workers is None else config.runtime.workers,
        threads=config.runtime.loader_threads or MAX_THREADS,
    )
    predictions = tuple(predict(gpu, work, assumed) for assumed in (BEST, CAREFUL))
    return Forecast(
        gpu=gpu,
        work=work,
        predictions=predictions,
        advice=tuple(advice(gpu, work, predictions)),
        grounds=(*grounds(gpu, work, (BEST, CAREFUL)), *left_out(videos, taken)),
    )


def left_out(videos: Sequence[PlannedVideo], taken: Sequence[PlannedVideo]) -> Iterator[str]:
    """Names the videos that the prediction does not hold."""
    codecs = {video.codec for video in videos} - {video.codec for video in taken}
    if codecs:
        yield (
            f"Left out: {len(videos) - len(taken)} of {len(videos)} videos, in {', '.join(sorted(codecs))}: no rate of "
            "NVDEC is published, and workers would decode them."
        )


def grounds(gpu: Gpu, work: Work, assumptions: Sequence[Assumptions]) -> Iterator[str]:
    """Says what was counted, measured here, published and assumed, with the sources."""
    yield (
        f"Counted on {len(work.videos)} planned videos: {work.mean('num_wanted'):.1f} frames shown, "
        f"{work.mean('num_decoded'):.1f} decoded, {work.mean('num_pixels') / 1e3:,.0f} thousand pixels each, "
        f"{work.mean('num_bytes') / 1e3:,.0f} kB a cut. The step needs {work.step_flops / 1e9:,.1f} GFLOP a video, the "
        f"views {work.view_bytes / 1e6:,.1f} MB of GPU memory traffic."
    )
    yield (
        f"Measured on this CPU: {1e3 * work.mean('cut_seconds'):.2f} ms to read and cut a video in one process, from "
        f"memory; {work.num_workers} workers are taken as that many times faster."
    )
    rates = gpu.decoder.frames_per_second
    codecs = sorted({video.codec for video in work.videos})
    yield (
        f"Published: {', '.join(f'{rates[codec]:,.0f} frames/s of {codec}' for codec in codecs)} at 1920x1080 for one "
        f"NVDEC engine at {gpu.decoder.video_mhz:,.0f} MHz (NVDEC Application Note, Video Codec SDK 13.0); this GPU "
        f"has {gpu.video_mhz:,.0f} MHz and {gpu.num_decoders} engine{'s' if gpu.num_decoders > 1 else ''} (nvidia-smi, "
        f"NVIDIA's support matrix), {gpu.bf16_tflops:,.0f} TFLOP/s in bf16 and "
        f"{gpu.memory_bytes_per_second / 1e12:.3g} TB/s of memory (data sheet), {gpu.pcie_bytes_per_second / 1e9:.0f} "
        "GB/s of PCIe."
    )
    for a in assumptions:
        yield (
            f"Assumed, {a.name}: NVDEC reaches {a.nvdec_share:.0%} of its pixel rate on small frames, plus "
            f"{1e6 * a.frame_seconds:.0f} us a frame, and {1e3 * a.stream_seconds:.1f} ms a cut that engines do not "
            f"share. The step reaches {a.step_share:.1%} of the bf16 peak and takes {1e3 * a.batch_seconds:.0f} ms at "
            f"least. Views reach "
            f"{a.memory_share:.0%} of the memory's rate, copies {a.pcie_share:.0%} of PCIe's."
        )
