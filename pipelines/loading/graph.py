"""The DALI graphs, top to bottom as the path of a clip: sample -> decode -> weak / strong.

One function a stage; parameters come from the plan, nothing here is random. On a GPU every stage runs there, from
NVDEC's frames or from frames that workers decoded. Without a GPU there is no graph: workers make the views
(`loading.workers`), the same pixels in a fraction of the time of DALI's CPU operators.

Legend: F frames, H x W pixels of the source, S crop side.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nvidia.dali import backend, fn, pipeline_def, types
from nvidia.dali.pipeline import Pipeline

from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.loading.operators import Node, crop_resize, photometric_functions, split, strong_view, with_flow
from pipelines.loading.parameters import ViewRow
from pipelines.loading.sample import CutMedia, Media, MixedMedia
from pipelines.loading.source import BatchSource, EvaluationSource, Source, TrainSource
from pipelines.loading.workers import interrupts_ignored
from pipelines.plan.planner import Stream

log = logging.getLogger(__name__)

LEAST_FLOW_SIDE = 32
"""Pixels (seen on an H100)."""


def training_graph(source: TrainSource, *, engine: Engine) -> Pipeline:
    """The graph of the source's stream. Raises InputError for crops too small for a GPU's optical flow."""
    geometry = source.planner.geometry
    if geometry.flow and engine.device_index is not None and geometry.crop_size < LEAST_FLOW_SIDE:
        raise InputError(
            f"flow: received crops of {geometry.crop_size} pixels on a GPU; accepted: {LEAST_FLOW_SIDE} or more, as "
            "its optical-flow unit takes no less"
        )
    graph = labeled_graph if source.planner.stream == Stream.LABELED else unlabeled_graph
    return graph(source, engine=engine)


def labeled_graph(source: TrainSource, *, engine: Engine) -> Pipeline:
    """T_standard of both networks' clips. Outputs: one clip a network, flow if there is any, ids, problems."""
    geometry = source.planner.geometry

    @pipeline_def(**_pipeline_arguments(engine, source.batch_size))
    def graph() -> tuple[Node, ...]:
        *media, rows, ids, problems = sample(source, engine)
        clips = split(decode(media, source.media, engine), geometry)
        views = [crop_resize(clip, ViewRow.of(rows[1 + k]).box, geometry.crop_size) for k, clip in enumerate(clips)]
        return *with_flow(views, geometry), fn.copy(ids), fn.copy(problems)

    return built(graph)


def unlabeled_graph(source: TrainSource, *, engine: Engine) -> Pipeline:
    """T_weak and T_strong of both networks' clips, from one decode.

    Outputs: weak clip a network (and flow), strong clip a network (and flow), ids, problems.
    """
    geometry, num_ops = source.planner.geometry, source.planner.strong.num_ops
    branches = photometric_functions(source.planner.strong)

    @pipeline_def(**_pipeline_arguments(engine, source.batch_size))
    def graph() -> tuple[Node, ...]:
        *media, rows, ids, problems = sample(source, engine)
        clip = decode(media, source.media, engine)
        weak = split(crop_resize(clip, ViewRow.of(rows[0]).box, geometry.crop_size), geometry)
        strong = [
            strong_view(
                part,
                rows[1 + k],
                num_ops=num_ops,
                branches=branches,
                num_frames=geometry.shapes[k].num_frames,
                size=geometry.crop_size,
            )
            for k, part in enumerate(split(clip, geometry))
        ]
        return *with_flow(weak, geometry), *with_flow(strong, geometry), fn.copy(ids), fn.copy(problems)

    return built(graph)


def evaluation_graph(source: EvaluationSource, *, engine: Engine) -> Pipeline:
    """Every crop of every clip. Outputs: for each crop all clips' frames (F, S, S, 3), then ids, problems."""

    @pipeline_def(**_pipeline_arguments(engine, source.batch_size))
    def graph() -> tuple[Node, ...]:
        *media, boxes, ids, problems = sample(source, engine)
        clip = decode(media, source.media, engine)
        crops = [crop_resize(clip, boxes[k], source.crop_size) for k in range(source.num_crops)]
        return *crops, fn.copy(ids), fn.copy(problems)

    return built(graph)


def decoding_graph(cuts: Sequence[CutMedia], *, engine: Engine) -> Pipeline:
    """The decode stage alone, of the same cuts in every batch. Output: their frames, in order."""
    columns = tuple(map(list, zip(*cuts, strict=True)))

    @pipeline_def(
        batch_size=len(cuts),
        num_threads=engine.num_threads,
        device_id=engine.device_index,
        prefetch_queue_depth=engine.prefetch_batches,
        exec_dynamic=True,
    )
    def graph() -> Node:
        return decode(fn.external_source(source=lambda: columns, num_outputs=len(columns)), Media.CUTS, engine)

    return built(graph)


def preallocate(source: TrainSource, *, engine: Engine) -> None:
    """Takes from the GPU at once what the batches in flight need, so that no step waits for an allocation."""
    if engine.device_index is None:
        return
    pool, geometry = source.pool, source.planner.geometry
    width, height = pool.stored_sizes()
    decoded = geometry.num_frames * int(np.mean(width * height)) * 3
    views = sum(int(np.prod(shape)) for shape in source.view_shapes)
    in_flight = source.batch_size * (engine.prefetch_batches + 1)
    try:  # decoded frames lie there twice, as they come and in order
        backend.PreallocateDeviceMemory(in_flight * (2 * decoded + views), engine.device_index)
    except (RuntimeError, MemoryError) as error:  # DALI tells a full card by either
        reason = (str(error).strip().splitlines() or ["out of memory"])[0]
        log.warning("no memory set aside for %d videos in flight: %s", in_flight, reason)


def refused(source: Source, *, engine: Engine) -> tuple[dict[int, str], set[int]]:
    """Decodes each cut of the batches in flight alone. Returns ({pool index: reason} of failures, indices tried)."""
    found: dict[int, str] = {}
    tried: set[int] = set()
    for iteration in range(engine.prefetch_batches + 1):
        for made in source.samples(iteration):
            if isinstance(made.media, MixedMedia) and made.media.by_cpu:
                continue
            tried.add(made.ids.video)
            content, indices, *_ = made.media
            problem = _refusal(content, indices, engine)
            if problem:
                found[made.ids.video] = problem
    return found, tried


def _refusal(content: np.ndarray, indices: np.ndarray, engine: Engine) -> str | None:
    """Says why the decoder does not take a cut; None where it does."""

    @pipeline_def(batch_size=1, num_threads=1, device_id=engine.device_index, prefetch_queue_depth=1)
    def graph() -> Node:
        encoded, asked = (types.Constant(array, device="cpu") for array in (content, indices))
        return decode_cut(encoded, asked, engine)

    try:
        (clips,) = built(graph).run()
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [""])[-2:][0]  # behind it: that the pipeline is lost
        return f"the decoder refused it: {reason[:200]}"
    num_decoded, num_frames = clips.shape()[0][0], len(indices)
    return None if num_decoded == num_frames else f"the decoder gave {num_decoded} of {num_frames} frames"


def sample(source: BatchSource, engine: Engine) -> Sequence[Node]:
    """The planned video: (*media, parameters, ids, problems), from DALI's worker processes or from this one."""
    layouts = [*source.media.layouts, "", "", ""]
    return fn.external_source(
        source=source,
        num_outputs=len(layouts),
        batch=False,
        parallel=engine.num_workers > 0,
        prefetch_queue_depth=engine.prefetch_batches if engine.num_workers else None,
        layout=layouts,
    )


def decode(media: Sequence[Node], kind: Media, engine: Engine) -> Node:
    """Frames (F, H, W, 3) uint8 of both networks, each decoded once and shown as often as asked for."""
    *parts, order = media
    return fn.sequence_rearrange(decode_distinct(parts, kind, engine), new_order=order)


def decode_distinct(parts: Sequence[Node], kind: Media, engine: Engine) -> Node:
    """The distinct frames (D, H, W, 3) uint8, ascending."""
    if kind is Media.FRAMES:
        return uploaded(parts[0], engine)
    if kind is Media.CUTS:
        encoded, indices = parts
        return decode_cut(encoded, indices, engine)
    encoded, indices, frames, by_cpu = parts
    if by_cpu:  # noqa: SIM108 (DALI makes branches of statements alone)
        clip = uploaded(frames, engine)
    else:
        clip = decode_cut(encoded, indices, engine)
    return clip


def decode_cut(encoded: Node, indices: Node, engine: Engine) -> Node:
    """The frames of a file in memory: distinct, ascending indices (see `CutMedia`)."""
    return fn.decoders.video(encoded, device=engine.decoder, frames=indices, pad_mode="none")


def uploaded(clip: Node, engine: Engine) -> Node:
    """Frames that workers decoded, where the views are made."""
    return clip if engine.device_index is None else clip.gpu()


def _pipeline_arguments(engine: Engine, batch_size: int) -> dict[str, Any]:
    return {
        "batch_size": batch_size,
        "num_threads": engine.num_threads,
        "device_id": engine.device_index,
        "prefetch_queue_depth": engine.prefetch_batches,
        "py_num_workers": max(engine.num_workers, 1),
        "py_start_method": "spawn",
        "enable_conditionals": True,
        "exec_dynamic": True,
    }


def built(graph: Callable[[], Pipeline]) -> Pipeline:
    """Starts the pipeline."""
    with interrupts_ignored():
        pipeline = graph()
        pipeline.build()
    return pipeline


def end(pipeline: Pipeline) -> None:
    """Ends a pipeline and its worker processes. (DALI itself waits for the garbage collector.)"""
    workers = pipeline._py_pool
    pipeline._shutdown()
    if workers is not None:
        workers.close()
