"""A source's batches as tensors: by workers without a GPU, by a DALI graph with one.

Legend: B videos, F frames, S crop side.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from pipelines.loading.engine import Engine
from pipelines.loading.in_flight import InFlight
from pipelines.loading.nvdec import after_refusal, on_cpu
from pipelines.loading.sample import Media, Problems, decode_problems
from pipelines.loading.source import EvaluationSource, Source, TrainSource
from pipelines.loading.workers import OwnProcess, Workers

if TYPE_CHECKING:
    from nvidia.dali.pipeline import Pipeline

log = logging.getLogger(__name__)

S = TypeVar("S", TrainSource, EvaluationSource)


class Batch(NamedTuple):
    """One batch.

    Its tensors stay as they are for as long as somebody holds them; on a GPU also until the device has done what was
    queued, on torch's current stream, when the next batch was asked for.
    """

    views: tuple[Tensor, ...]  # each (B, F, S, S, 3) uint8
    ids: np.ndarray  # (B, 4) int64, as `loading.sample.Ids`
    problems: Problems


class Batches(Protocol):
    """Gives a source's batches in order."""

    def next(self) -> Batch: ...
    def close(self) -> None: ...


def batches_of(source: TrainSource | EvaluationSource, *, engine: Engine) -> Batches:
    """The batches of a source whose media are the engine's.

    What NVDEC is known not to decode is left to the workers, and said once in the log.
    """
    if source.media is Media.VIEWS:
        return ViewBatches(source, engine=engine)
    from pipelines.loading import graph  # only GPUs need DALI, which may not be installed

    if isinstance(source, TrainSource):
        graph.preallocate(source, engine=engine)
        return GraphBatches(with_known(source, engine), engine=engine, make=graph.training_graph)
    return GraphBatches(with_known(source, engine), engine=engine, make=graph.evaluation_graph)


class ViewBatches:
    """Views that workers made."""

    def __init__(self, source: TrainSource | EvaluationSource, *, engine: Engine) -> None:
        self._made: OwnProcess | Workers = OwnProcess(source)
        if engine.num_workers:
            self._made = Workers(source, num_workers=engine.num_workers, num_ahead=engine.prefetch_batches)

    def next(self) -> Batch:
        """The next batch, in the memory that the workers wrote."""
        made = self._made.next()
        return Batch(tuple(map(torch.from_numpy, made.views)), made.ids, made.problems)

    def close(self) -> None:
        """Ends the workers."""
        self._made.close()


class GraphBatches:
    """A graph's outputs; a graph that outlives what its decoder refuses.

    If NVDEC refuses one stream, DALI's whole pipeline dies. We find that video, let the workers decode it from then
    on, and start the pipeline anew at the same batch. What the workers cannot decode either, the source replaces and
    names.
    """

    def __init__(self, source: Source, *, engine: Engine, make: "Callable[..., Pipeline]") -> None:
        self._source, self._make, self._engine = source, make, engine
        self._num_taken = 0
        self._in_flight: InFlight[Batch] | None = None
        if engine.device_index is not None:
            self._in_flight = InFlight(functools.partial(event_on, engine.device_index))
        self._pipeline = make(source, engine=engine)

    def next(self) -> Batch:
        """The next batch. Raises RuntimeError where the graph fails for another reason than one video.

        The reads of the batch before must be queued by now, on torch's current stream.
        """
        if self._in_flight is not None:
            self._in_flight.release()
        while True:
            try:
                outputs = self._pipeline.run(cuda_stream(self._engine))
                break
            except RuntimeError as error:
                if not self._source.media.has_cuts:  # decoding errors were met in the source
                    raise
                self._recover(error)
        self._num_taken += 1
        batch = batch_of(outputs)
        if self._in_flight is not None:
            self._in_flight.hold(batch)
        return batch

    def close(self) -> None:
        """Ends the graph and its worker processes, once the GPU has read what it gave."""
        from pipelines.loading.graph import end

        if self._in_flight is not None:
            self._in_flight.drain()
        end(self._pipeline)

    def _recover(self, error: RuntimeError) -> None:
        from pipelines.loading.graph import refused

        self.close()
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
        self._source = source.with_on_cpu(known)
        self._pipeline = self._make(self._source, engine=self._engine)


def batch_of(outputs: tuple) -> Batch:
    """A graph's outputs (*views, ids, problems) as tensors, without a copy of the views."""
    *views, ids, notes = outputs
    problems = tuple(problem for i in range(len(notes)) for problem in decode_problems(np.from_dlpack(notes[i])))
    tensors = tuple(torch.from_dlpack(view.as_tensor()) for view in views)
    return Batch(tensors, np.array(ids.as_array()), problems)


def with_known(source: S, engine: Engine) -> S:
    """Leaves to the workers what NVDEC is known not to decode, and says so, and their share of the rest."""
    if source.media is not Media.CUTS:
        return source
    known = on_cpu(source.pool, decoder=engine.decoder)
    for line in known.lines(source.pool):
        log.warning(line)
    known = dataclasses.replace(known, share=engine.cpu_share or 0.0)
    return source.with_on_cpu(known) if known else source


def event_on(device_index: int) -> torch.cuda.Event:
    """An event behind all that is queued on torch's current stream."""
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device_index))
    return event


def cuda_stream(engine: Engine) -> "torch.cuda.Stream | None":
    """Torch's current stream, on which outputs are taken so that the host never waits; None on the CPU."""
    return torch.cuda.current_stream(engine.device_index) if engine.device_index is not None else None
