"""Shared parts of the GPU suite: files, geometry, the gpu back end, and a decoder to time."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nvidia.dali.pipeline import Pipeline

    from benchmarks.loaders.workload import Workload
    from pipelines.loading.engine import Engine
    from pipelines.plan.geometry import ClipShape, Geometry

Found = Iterator[tuple[str, object]]
"""The findings of a section, piece by piece: (name, anything that JSON takes)."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The files that all sections share, and whether there is a GPU."""

    folder: Path
    cpu: bool

    @property
    def device_index(self) -> int | None:
        """The GPU's number."""
        return None if self.cpu else 0

    def geometry(self) -> "Geometry":
        """The paper's, or a small one."""
        from pipelines.plan.geometry import ClipShape, Geometry

        if not self.cpu:
            return Geometry(max_offset_seconds=10.0)
        return Geometry(
            primary=ClipShape(4, 8),
            auxiliary=ClipShape(8, 4),
            crop_size=28,
            short_side=32,
            short_side_jitter=(32, 40),
            max_offset_seconds=1.0,
        )

    @property
    def shape(self) -> "ClipShape":
        """The longer clip of the two."""
        shape = self.geometry().auxiliary
        if shape is None:
            raise ValueError("geometry: received one clip; accepted: two")
        return shape

    def videos(self, num_videos: int = 8) -> dict[str, list[Path]]:
        """{kind: files}: H.264 of all kinds, or small VP9 that DALI decodes without a GPU."""
        from benchmarks.loaders.videos import make_videos, once, write_video

        if not self.cpu:
            return make_videos(self.folder / "videos", num_videos=num_videos)
        paths = [self.folder / f"vp9-{k}.mp4" for k in range(2)]
        for k, path in enumerate(paths):
            options = {"g": "20", "deadline": "realtime", "cpu-used": "8"}
            made = partial(write_video, num_frames=60, size=(64, 48), seed=k, codec="libvpx-vp9", options=options)
            once(path, made)
        return {"VP9": paths}

    def engine(self, **changes: Any) -> "Engine":
        """The gpu back end as it is run here."""
        from pipelines.loading.engine import Engine
        from pipelines.loading.sample import Media

        number = 1 if self.cpu else 8
        options = {"num_workers": number, "num_threads": number, "decoder": "cpu" if self.cpu else "mixed"} | changes
        return Engine(media=Media.CUTS, device_index=self.device_index, **options)

    def workload(self, paths: list[Path], *, num_samples: int) -> "Workload":
        """The frozen list of plans over some files."""
        from benchmarks.loaders.workload import workload_of

        return workload_of(paths, num_samples=num_samples, geometry=self.geometry())


def decoding_pipeline(items: list[tuple[bytes, np.ndarray]], suite: Suite, *, num_threads: int) -> "Pipeline":
    """Starts DALI's decoder on the same files in every batch."""
    from pipelines.loading.graph import decoding_graph
    from pipelines.loading.sample import CutMedia

    return decoding_graph([CutMedia.of(*item) for item in items], engine=suite.engine(num_threads=num_threads))


def decoded(items: list[tuple[bytes, np.ndarray]], suite: Suite) -> list[np.ndarray]:
    """Decodes the frames (F, H, W, 3) of each file."""
    (clips,) = decoding_pipeline(items, suite, num_threads=1).run()
    return [np.array(clips.as_cpu().at(i)) for i in range(len(items))]


def seconds_per_video(
    items: list[tuple[bytes, np.ndarray]], suite: Suite, *, num_threads: int = 8, num_repeats: int = 7
) -> float:
    """Times decoding: the median over batches, in the steady state."""
    import torch

    from cmpl.training.autotune import synchronize

    device = torch.device("cpu" if suite.cpu else "cuda")
    pipeline, samples = decoding_pipeline(items, suite, num_threads=num_threads), []
    for _ in range(num_repeats + 3):
        begin = time.perf_counter()
        pipeline.run()
        synchronize(device)
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples[3:]) / len(items)
