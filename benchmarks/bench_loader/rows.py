"""The figures of `cmpl bench-loader` as values. Neither torch nor DALI is imported.

Legend: a batch is one micro-step's labeled and unlabeled videos; a clip is one view for one network. So an unlabeled
video makes four (weak and strong) and a labeled one two, or half of that with a single network.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.decode_work import DecodeWork
from benchmarks.environment import summarize

STAGES = {
    "read": "files into memory, from the page cache",
    "cut": "the packets of the needed GOPs into a small MP4, for NVDEC",
    "decode": "the plan's frames by PyAV on one thread",
    "decode, NVDEC": "the plan's frames of the cut on the GPU",
    "augment": "crops, RandAugment, Cutout: by a worker, or by DALI's graph on a GPU",
    "hand-off": "finished views as torch tensors",
}
WHOLE = {
    "loader": "the whole loader, nobody else at work",
    "trainer, replayed": "the training step on a batch that is there already: its ceiling",
    "training": "the training step on the loader's batches",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured part: median and quartiles over batches, all divided by the videos of a batch."""

    name: str
    seconds_per_video: float
    lower_quartile_seconds: float
    upper_quartile_seconds: float
    num_samples: int
    clips_per_video: float
    cpu_seconds_per_clip: float
    """Processor time of this process and its children; a mean."""
    bytes_per_clip: float | None = None
    """Bytes that a stage hands on: encoded video, frames or views; a mean."""
    wait_share: float | None = None
    """Share of the step's time spent waiting for data."""
    host_memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    nvdec_share: float | None = None

    @property
    def videos_per_second(self) -> float:
        """At the median."""
        return 1 / self.seconds_per_video

    @property
    def clips_per_second(self) -> float:
        """At the median."""
        return self.clips_per_video / self.seconds_per_video

    def to_json(self) -> dict[str, Any]:
        """All fields and both rates."""
        rates = {"videos_per_second": self.videos_per_second, "clips_per_second": self.clips_per_second}
        return dataclasses.asdict(self) | rates


def row_of(name: str, batch_seconds: Sequence[float], *, num_videos: int, **others: Any) -> Row:
    """Makes a row from the seconds that each batch of `num_videos` videos took."""
    summary = summarize(batch_seconds)
    return Row(
        name=name,
        seconds_per_video=summary["median_seconds"] / num_videos,
        lower_quartile_seconds=summary["lower_quartile_seconds"] / num_videos,
        upper_quartile_seconds=summary["upper_quartile_seconds"] / num_videos,
        num_samples=summary["num_samples"],
        **others,
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All rows, what was counted, the settings, and the reasons why a figure is missing."""

    rows: dict[str, Row]
    work: DecodeWork
    missing: dict[str, str]
    media: str
    """What workers hand over: views, frames or cuts (`pipelines.loading.sample`)."""
    device: str
    num_cores: int
    num_workers: int
    loader_threads: int
    torch_threads: int
    prefetch_batches: int

    def to_json(self) -> dict[str, Any]:
        """Everything, the rows with their rates."""
        return dataclasses.asdict(self) | {"rows": [row.to_json() for row in self.rows.values()]}
