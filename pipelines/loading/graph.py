"""The DALI graphs, top to bottom as the path of a clip: sample -> decode -> weak / strong.

One function a stage; parameters come from the plan, nothing here is random. On a GPU every stage runs there, from
NVDEC's pictures or from frames that the source's workers decoded. Without a GPU the workers make the views themselves
(`pipelines.views.make`: the same pixels in a fraction of the time of DALI's CPU operators), and the graph carries them
over.
"""

import logging
import signal
import threading
from dataclasses import dataclass

import numpy as np
from nvidia.dali import backend, fn, pipeline_def, types
from nvidia.dali.pipeline import Pipeline

from pipelines.loading.operators import crop_resize, split, strong_view, with_flow
from pipelines.loading.source import BOX, EvaluationSource, TrainSource
from pipelines.plan.geometry import Geometry
from pipelines.plan.planner import Stream

log = logging.getLogger(__name__)

DECODER_DEVICE = "mixed"
"""NVDEC, fed from the host. "cpu" is DALI's software decoder (VP8, VP9 and MJPEG alone), for tests."""
MEDIA_LAYOUTS = {"frames": ["FHWC"], "cuts": ["", ""], "mixed": ["", "", "FHWC", ""]}
"""Of the arrays that `pipelines.loading.source.fetch` gives."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How a graph is run: who decodes and who makes the views (`loading.source`), where, with how many hands."""

    media: str = "views"
    device_index: int | None = None  # CUDA device; None: DALI's CPU operators
    num_workers: int = 0  # processes that read (and decode, and make views); 0: in the trainer's process
    num_threads: int = 1  # DALI's own
    prefetch_batches: int = 2


def labeled_graph(source: TrainSource, *, geometry: Geometry, engine: Engine) -> Pipeline:
    """T_standard of both networks' clips. Outputs: one clip a network, flow if there is any, ids, problems."""
    if engine.media == "views":
        return _carried(source, num_views=len(geometry.shapes), engine=engine)

    @pipeline_def(**_pipeline_arguments(engine, source.batch_size))
    def graph():
        *media, parameters, ids, problems = sample(source, engine)
        clips = split(decode(media, engine), geometry)
        views = [crop_resize(clip, parameters[1 + k][BOX], geometry.crop_size) for k, clip in enumerate(clips)]
        return *with_flow(views, geometry), fn.copy(ids), fn.copy(problems)

    return _built(graph)


def unlabeled_graph(source: TrainSource, *, geometry: Geometry, engine: Engine) -> Pipeline:
    """T_weak and T_strong of both networks' clips, from one decode.

    Outputs: weak clip a network (and flow), strong clip a network (and flow), ids, problems.
    """
    if engine.media == "views":
        return _carried(source, num_views=2 * len(geometry.shapes), engine=engine)
    num_ops = source.planner.strong.num_ops

    @pipeline_def(**_pipeline_arguments(engine, source.batch_size))
    def graph():
        *media, parameters, ids, problems = sample(source, engine)
        clip = decode(media, engine)
        weak = split(crop_resize(clip, parameters[0][BOX], geometry.crop_size), geometry)
        strong = [
            strong_view(part, parameters[1 + k], num_ops=num_ops, shape=geometry.shapes[k], size=geometry.crop_size)
            for k, part in enumerate(split(clip, geometry))
        ]
        return *with_flow(weak, geometry), *with_flow(strong, geometry), fn.copy(ids), fn.copy(problems)

    return _built(graph)


def evaluation_graph(source: EvaluationSource, *, engine: Engine) -> Pipeline:
    """Every crop of every clip. Outputs: for each crop all clips' frames (F, S, S, 3), then ids, problems."""
    if engine.media == "views":
        return _carried(source, num_views=source.num_crops, engine=engine)

    @pipeline_def(**_pipeline_arguments(engine, source.batch_size))
    def graph():
        *media, boxes, ids, problems = sample(source, engine)
        clip = decode(media, engine)
        crops = [crop_resize(clip, boxes[k], source.crop_size) for k in range(source.num_crops)]
        return *crops, fn.copy(ids), fn.copy(problems)

    return _built(graph)


def _carried(source, *, num_views: int, engine: Engine) -> Pipeline:
    """What the workers made, as batches: views, ids, problems."""

    @pipeline_def(**_pipeline_arguments(engine, source.batch_size))
    def graph():
        return tuple(fn.copy(array) for array in external(source, engine, layouts=["FHWC"] * num_views + ["", ""]))

    return _built(graph)


def preallocate(source: TrainSource, *, geometry: Geometry, engine: Engine) -> None:
    """Takes from the GPU at once what the batches in flight need, so that no step waits for an allocation."""
    if engine.device_index is None:
        return
    pool = source.planner.pool
    decoded = geometry.num_frames * int(np.mean(pool.width * pool.height)) * 3
    num_views = 1 if source.planner.stream == Stream.LABELED else 2
    views = num_views * geometry.num_frames * geometry.crop_size**2 * 3
    in_flight = source.batch_size * (engine.prefetch_batches + 1)
    try:
        backend.PreallocateDeviceMemory(in_flight * (decoded + views), engine.device_index)
    except RuntimeError as error:
        log.warning("no memory set aside for %d videos in flight: %s", in_flight, str(error).strip().splitlines()[0])


def refused(source: TrainSource | EvaluationSource, *, engine: Engine) -> tuple[dict[int, str], set[int]]:
    """Which videos of the batches in flight the graph's decoder does not take, {pool index: reason}, and all that it
    was tried on, each alone."""
    found: dict[int, str] = {}
    tried: set[int] = set()
    for iteration in range(engine.prefetch_batches + 1):
        for *media, _, ids, _ in source.samples(iteration):
            if engine.media == "mixed" and media[-1]:
                continue
            tried.add(int(ids[1]))
            num_frames = len(media[1])

            @pipeline_def(batch_size=1, num_threads=1, device_id=engine.device_index, prefetch_queue_depth=1)
            def graph(media=media[:2]):
                return decode_cut(*(types.Constant(array, device="cpu") for array in media))

            try:
                (clips,) = _built(graph).run()
                num_decoded = clips.shape()[0][0]
                if num_decoded != num_frames:
                    found[int(ids[1])] = f"the decoder gave {num_decoded} of {num_frames} frames"
            except RuntimeError as error:
                reason = (str(error).strip().splitlines() or [""])[-2:][0]  # behind it: that the pipeline is lost
                found[int(ids[1])] = f"the decoder refused it: {reason[:200]}"
    return found, tried


def sample(source, engine: Engine):
    """The planned video: (*media, parameters, ids, problems)."""
    return external(source, engine, layouts=[*MEDIA_LAYOUTS[engine.media], "", "", ""])


def external(source, engine: Engine, *, layouts: list[str]):
    """The source's arrays, sample by sample, from its worker processes or from this one."""
    return fn.external_source(
        source=source,
        num_outputs=len(layouts),
        batch=False,
        parallel=engine.num_workers > 0,
        prefetch_queue_depth=engine.prefetch_batches if engine.num_workers else None,
        layout=layouts,
    )


def decode(media, engine: Engine):
    """Frames (F, H, W, 3) uint8 of both networks, decoded once."""
    if engine.media == "frames":
        return uploaded(media[0], engine)
    if engine.media == "cuts":
        return decode_cut(*media)
    encoded, frames, pictures, by_cpu = media
    if by_cpu:  # noqa: SIM108 (DALI makes branches of statements alone)
        clip = uploaded(pictures, engine)
    else:
        clip = decode_cut(encoded, frames)
    return clip


def decode_cut(encoded, frames):
    """The frames of a file in memory, in the order asked for."""
    return fn.decoders.video(encoded, device=DECODER_DEVICE, frames=frames, pad_mode="none")


def uploaded(clip, engine: Engine):
    """Frames that the reading processes decoded, where the views are made."""
    return clip if engine.device_index is None else clip.gpu()


def _pipeline_arguments(engine: Engine, batch_size: int) -> dict:
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


def _built(graph) -> Pipeline:
    """Starts the pipeline. Its worker processes must outlive a Ctrl-C, which is the trainer's to handle: they inherit
    that the signal is ignored while they are started."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    try:
        pipeline = graph()
        pipeline.build()
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
    return pipeline
