"""Pairs the labelled and the unlabelled stream and hands SemiBatches to torch; its position is the micro-step."""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from nvidia.dali.pipeline import Pipeline
from torch import Tensor

from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch
from pipelines.loading.graph import Engine, evaluation_graph, labeled_graph, preallocate, refused, unlabeled_graph
from pipelines.loading.nvdec import OnCpu, after_refusal, on_cpu
from pipelines.loading.source import EvaluationSource, TrainSource, decode_problems
from pipelines.plan.geometry import Geometry
from pipelines.plan.planner import Planner

log = logging.getLogger(__name__)


class Recovering:
    """A graph that outlives what its decoder refuses.

    One refused stream takes DALI's pipeline along. The culprits are found, decoded by the reading processes from then
    on, and the graph begins again at the same batch; what these cannot decode either, the source replaces and names.
    """

    def __init__(self, source, engine: Engine, *, graph: Callable[..., Pipeline]) -> None:
        self._source, self._graph, self._engine = source, graph, engine
        self._num_taken = 0
        self._pipeline = graph(source, engine=engine)

    def run(self) -> tuple:
        """The outputs of the next batch."""
        try:
            outputs = self._pipeline.run(cuda_stream(self._engine))
        except RuntimeError as error:
            if self._engine.media not in ("cuts", "mixed"):  # decoding errors were met in the source
                raise
            self._recover(error)
            return self.run()
        self._num_taken += 1
        return outputs

    def _recover(self, error: RuntimeError) -> None:
        source = self._source.after(self._num_taken)
        found, tried = refused(source, engine=self._engine)
        if not found:
            raise error
        for video, reason in found.items():
            log.warning("%s is decoded on the CPU from here on: %s", source.pool.paths[video], reason)
        known = after_refusal(source.on_cpu, source.pool, refused=found, tried=tried)
        for coding in known.codings - source.on_cpu.codings:
            log.warning("all videos of the kind %s are decoded on the CPU: NVDEC takes none of them", coding)
        self._num_taken = 0
        self._source, self._engine = with_cpu(source, self._engine, known)
        self._pipeline = self._graph(self._source, engine=self._engine)


def with_cpu(source, engine: Engine, known: OnCpu) -> tuple:
    """Source and engine that leave some videos to the reading processes."""
    return dataclasses.replace(source, media="mixed", on_cpu=known), dataclasses.replace(engine, media="mixed")


def with_known(source, engine: Engine) -> tuple:
    """The same with what NVDEC is known not to decode left to the reading processes."""
    known = on_cpu(source.pool) if engine.media == "cuts" else None
    return with_cpu(source, engine, known) if known else (source, engine)


class StreamLoader:
    """One stream of one rank: batches of tensors, the graph that makes them, and what was set aside on the way."""

    def __init__(self, source: TrainSource, graph: Callable[..., Pipeline], *, geometry: Geometry, engine: Engine):
        self.problems: dict[str, str] = {}  # path -> reason
        self.positions: list[int] = []  # of the last batch
        preallocate(source, geometry=geometry, engine=engine)
        self._running = Recovering(source, engine, graph=functools.partial(graph, geometry=geometry))

    def __next__(self) -> tuple[list[Tensor], Tensor]:
        """The clips of one batch, each (B, 3, T, S, S) uint8, and its labels (B,) int64 on the same device."""
        *views, ids, problems = self._running.run()
        for i in range(len(problems)):
            self.problems.update(decode_problems(np.from_dlpack(problems[i])))
        ids = torch.from_dlpack(ids.as_tensor())
        self.positions = ids[:, 0].tolist()
        clips = [clips_of(view) for view in views]
        return clips, on_device(ids[:, 2].clone(), clips[0].device)


class SemiLoader:
    """An endless iterator of one rank's SemiBatches, from `first_micro_step` on.

    `unlabeled` is None for a supervised method. Batch sizes are this rank's. `wait_seconds` is the time that `next()`
    has kept its caller waiting since the start.
    """

    def __init__(
        self,
        *,
        labeled: Planner,
        unlabeled: Planner | None,
        num_labeled: int,
        num_unlabeled: int,
        geometry: Geometry,
        engine: Engine,
        first_micro_step: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        for_labeled, for_unlabeled = engine, engine
        if unlabeled:
            shares = shared_workers(engine.num_workers, num_labeled, num_unlabeled)
            for_labeled, for_unlabeled = (dataclasses.replace(engine, num_workers=share) for share in shares)

        def stream(planner: Planner, batch_size: int, graph: Callable[..., Pipeline], engine: Engine) -> StreamLoader:
            source = TrainSource(
                planner=planner,
                media=engine.media,
                batch_size=batch_size,
                first_micro_step=first_micro_step,
                rank=rank,
                num_ranks=num_ranks,
            )
            source, engine = with_known(source, engine)
            return StreamLoader(source, graph, geometry=geometry, engine=engine)

        self.wait_seconds = 0.0
        self.num_unlabeled = num_unlabeled if unlabeled else 0
        self.labeled = stream(labeled, num_labeled, labeled_graph, for_labeled)
        self.unlabeled = stream(unlabeled, num_unlabeled, unlabeled_graph, for_unlabeled) if unlabeled else None

    def __iter__(self) -> Iterator[SemiBatch]:
        return self

    def __next__(self) -> SemiBatch:
        begin = time.perf_counter()
        views, labels = next(self.labeled)
        labeled = LabeledBatch(standard=clip_batch(views), labels=labels)
        batch = SemiBatch(labeled=labeled, unlabeled=self._next_unlabeled())
        self.wait_seconds += time.perf_counter() - begin
        return batch

    def _next_unlabeled(self) -> UnlabeledBatch | None:
        if self.unlabeled is None:
            return None
        views, truth = next(self.unlabeled)
        half = len(views) // 2
        return UnlabeledBatch(weak=clip_batch(views[:half]), strong=clip_batch(views[half:]), truth=truth)

    @property
    def problems(self) -> dict[str, str]:
        """Videos set aside so far on this rank: path -> reason."""
        return self.labeled.problems | (self.unlabeled.problems if self.unlabeled else {})


def shared_workers(num_workers: int, num_labeled: int, num_unlabeled: int) -> tuple[int, int]:
    """Reading processes of the labelled and of the unlabelled stream, by their batches; at least one each, unless
    there are none at all."""
    if num_workers == 0:
        return 0, 0
    for_labeled = max(1, round(num_workers * num_labeled / (num_labeled + num_unlabeled)))
    return for_labeled, max(1, num_workers - for_labeled)


def clip_batch(views: list[Tensor]) -> ClipBatch:
    """One view of the primary network, of the auxiliary one and of their flow, as far as there are such."""
    return ClipBatch(**dict(zip(("primary", "auxiliary", "flow"), views, strict=False)))


def clips_of(view) -> Tensor:
    """The hand-off: DALI's (B, T, S, S, 3) as a torch tensor (B, 3, T, S, S), channels_last_3d, without a copy."""
    return torch.from_dlpack(view.as_tensor()).permute(0, 4, 1, 2, 3)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A small host tensor on the clips' device, without waiting for it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def cuda_stream(engine: Engine):
    """Torch's current stream, on which outputs are taken so that the host never waits; None on the CPU."""
    return torch.cuda.current_stream(engine.device_index) if engine.device_index is not None else None


class EvaluationLoader:
    """One rank's share of a pool, every clip and crop of every video, once.

    Yields (videos, labels, crops): pool indices and classes of the V videos that decoded, and a list of M crops, each
    (V, F, S, S, 3) uint8 with all clips' frames of all shapes one after another. `problems` names the others.
    """

    def __init__(self, source: EvaluationSource, *, engine: Engine) -> None:
        self.problems: dict[str, str] = {}
        self.num_videos = len(source.pool)
        self._source = source
        self._num_own = len(range(source.rank, self.num_videos, source.num_ranks))
        self._running = Recovering(*with_known(source, engine), graph=evaluation_graph)

    def __iter__(self) -> Iterator[tuple[list[int], list[int], list[Tensor]]]:
        for first in range(0, self._num_own, self._source.batch_size):
            *crops, ids, problems = self._running.run()
            for i in range(len(problems)):
                self.problems.update(decode_problems(np.from_dlpack(problems[i])))
            ids = np.array(ids.as_array())
            # The last batch is filled up from the front, and a stand-in's second id is -1.
            rows = [i for i, shown in enumerate(ids[: self._num_own - first, 1].tolist()) if shown >= 0]
            if rows:
                yield ids[rows, 0].tolist(), ids[rows, 2].tolist(), [rows_of(crop, rows) for crop in crops]

    def clips_of(self, crops: list[Tensor], network: int) -> Tensor:
        """All views of one network (V, N * M, 3, T, S, S)."""
        shapes, num_clips = self._source.shapes, self._source.num_clips
        first = num_clips * sum(shape.num_frames for shape in shapes[:network])
        num_frames = shapes[network].num_frames
        views = [
            crop[:, first : first + num_clips * num_frames].unflatten(1, (num_clips, num_frames)) for crop in crops
        ]
        return torch.cat(views, dim=1).permute(0, 1, 5, 2, 3, 4)


def rows_of(crop, rows: list[int]) -> Tensor:
    """Some videos of a crop's batch (V, F, S, S, 3)."""
    clips = torch.from_dlpack(crop.as_tensor())
    return clips if len(rows) == len(clips) else clips[rows]
