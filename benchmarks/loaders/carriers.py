"""Three ways to carry finished views from workers to the trainer, and the samples that they carry.

Workers import this file: neither torch nor DALI is imported here but where they are used.
Legend: B videos of a batch, F frames, S crop side.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.replay import ReplaySource
from pipelines.catalog.pool import Pool
from pipelines.loading.sample import Ids, Media, Sample
from pipelines.loading.workers import Workers
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream

if TYPE_CHECKING:
    from torch import Tensor

OURS, DALI, TORCH = "this project's workers", "DALI external_source", "torch DataLoader"
NUM_AHEAD = 2
"""Batches made ahead, as in training; torch's DataLoader makes as many ahead in each worker, DALI twice."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Sizes of a stream of unlabeled videos, and how many batches one round takes."""

    name: str
    shapes: tuple[ClipShape, ClipShape]
    crop_size: int
    batch_size: int
    num_batches: int


PAPER = Case(name="paper", shapes=(ClipShape(8, 8), ClipShape(16, 4)), crop_size=224, batch_size=4, num_batches=40)
DEMO = Case(name="demo", shapes=(ClipShape(4, 16), ClipShape(8, 8)), crop_size=28, batch_size=20, num_batches=200)


class Carrier(Protocol):
    """Gives batches in order: views, each (B, F, S, S, 3) uint8."""

    def next(self) -> "tuple[Tensor, ...]": ...
    def close(self) -> None: ...


def replayed(case: Case) -> ReplaySource:
    """Makes one batch of finished views of noise, weak and strong ones of both clips, and repeats it."""
    rng, (primary, auxiliary) = np.random.default_rng(0), case.shapes
    size, one = case.crop_size, np.ones(1, dtype=np.int64)
    pool = Pool(
        paths=("replayed",), labels=-one, num_frames=300 * one, fps=30.0 * one, width=340 * one, height=256 * one,
        exact_seek=one.astype(bool), codings=("none",), coding=0 * one,
    )  # fmt: skip
    geometry = Geometry(primary=primary, auxiliary=auxiliary, crop_size=size)
    samples = [
        Sample(
            tuple(rng.integers(0, 256, (s.num_frames, size, size, 3), dtype=np.uint8) for s in case.shapes * 2),
            None,
            Ids(number=k, video=0, label=-1),
        )
        for k in range(case.batch_size)
    ]
    planner = Planner(pool=pool, seed=0, stream=Stream.UNLABELED, geometry=geometry)
    return ReplaySource(planner=planner, media=Media.VIEWS, batch_size=case.batch_size, batch=samples)


class OurWorkers:
    """This project's worker pool, as training without a GPU runs it."""

    def __init__(self, source: ReplaySource, *, num_workers: int) -> None:
        self._workers = Workers(source, num_workers=num_workers, num_ahead=NUM_AHEAD)

    def next(self) -> "tuple[Tensor, ...]":
        """The next batch, in the memory that workers wrote."""
        import torch

        return tuple(torch.from_numpy(views) for views in self._workers.next().views)

    def close(self) -> None:
        """Ends the workers."""
        self._workers.close()


class DaliWorkers:
    """DALI's parallel external_source and a copy into batches: arrays in, arrays out, no other operator."""

    def __init__(self, source: ReplaySource, *, num_workers: int) -> None:
        from nvidia.dali import fn, pipeline_def

        from pipelines.loading.graph import built

        num_outputs = len(source.view_shapes) + 2  # ids and problems too

        @pipeline_def(
            batch_size=source.batch_size,
            num_threads=num_workers,
            device_id=None,
            prefetch_queue_depth=NUM_AHEAD,
            py_num_workers=num_workers,
            py_start_method="spawn",
            exec_dynamic=True,
        )
        def graph() -> tuple[Any, ...]:
            arrays = fn.external_source(
                source=source, num_outputs=num_outputs, batch=False, parallel=True, prefetch_queue_depth=NUM_AHEAD
            )
            return tuple(fn.copy(array) for array in arrays)

        self._pipeline, self._num_views = built(graph), num_outputs - 2

    def next(self) -> "tuple[Tensor, ...]":
        """The next batch, in DALI's memory."""
        import torch

        outputs = self._pipeline.run()
        return tuple(torch.from_dlpack(view.as_tensor()) for view in outputs[: self._num_views])

    def close(self) -> None:
        """Ends the pipeline and its workers."""
        from pipelines.loading.graph import end

        end(self._pipeline)


@dataclass(frozen=True, kw_only=True)
class EndlessSamples:
    """An endless map-style data set for torch's DataLoader."""

    source: ReplaySource

    def __len__(self) -> int:
        return sys.maxsize // 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        sample = self.source.sample_at(*divmod(index, self.source.batch_size))
        return *sample.media, np.array(sample.ids, dtype=np.int64)


class TorchWorkers:
    """torch's DataLoader: workers put batches together and hand shared memory over."""

    def __init__(self, source: ReplaySource, *, num_workers: int) -> None:
        from torch.utils.data import DataLoader

        loader: DataLoader[Any] = DataLoader(
            EndlessSamples(source=source),  # type: ignore[arg-type]  # a map needs no base class, torch's stub does
            batch_size=source.batch_size,
            num_workers=num_workers,
            prefetch_factor=NUM_AHEAD,
            multiprocessing_context="spawn",
        )
        self._batches = iter(loader)

    def next(self) -> "tuple[Tensor, ...]":
        """The next batch, in the memory that a worker wrote."""
        *views, _ = next(self._batches)
        return tuple(views)

    def close(self) -> None:
        """Ends the workers, which the iterator holds."""
        del self._batches


CARRIERS: dict[str, Callable[..., Carrier]] = {OURS: OurWorkers, TORCH: TorchWorkers, DALI: DaliWorkers}
