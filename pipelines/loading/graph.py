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

from pipelines.loading.source import AFFINE, BOX, CUTOUT, OP_CODES, OPS, EvaluationSource, TrainSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Stream
from pipelines.plan.rand_augment import FILL

log = logging.getLogger(__name__)

DECODER_DEVICE = "mixed"
"""NVDEC, fed from the host. "cpu" is DALI's software decoder (VP8, VP9 and MJPEG alone), for tests."""
FLOW_LIMIT_PIXELS = 20.0
"""Movement between neighbouring frames at which the colours of optical flow end; usual where flow is kept as images."""
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


def split(clip, geometry: Geometry):
    """(F, ...) -> the primary's frames and, where there is one, the auxiliary's."""
    if geometry.auxiliary is None:
        return (clip,)
    first = geometry.primary.num_frames
    return clip[0:first], clip[first : geometry.num_frames]


def crop_resize(clip, box, size: int):
    """The box of every frame, scaled to `size` x `size`; mirrored where left > right."""
    return fn.resize(
        clip,
        roi_start=box[0:2],
        roi_end=box[2:4],
        size=[size, size],
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )


def strong_view(clip, parameters, *, num_ops: int, shape: ClipShape, size: int):
    """T_strong: standard crop, one affine warp, the photometric operations in order, Cutout."""
    clip = crop_resize(clip, parameters[BOX], size)
    clip = warp(clip, parameters[AFFINE])
    for k in range(num_ops):
        clip = photometric(
            clip, parameters[OPS + 2 * k], parameters[OPS + 2 * k + 1], num_frames=shape.num_frames, size=size
        )
    return cut_out(clip, parameters[CUTOUT])


def warp(clip, affine):
    """RandAugment's geometric operations as one map of pixel positions; skipped where it is the identity."""
    if affine[0] > 0.5:
        matrix = fn.reshape(affine[1:7], shape=[2, 3])
        clip = fn.warp_affine(clip, matrix=matrix, fill_value=FILL, interp_type=types.INTERP_LINEAR)
    return clip


def photometric(clip, op, value, *, num_frames: int, size: int):
    """One photometric operation, chosen by its code in the plan. Samples are sent down one branch, not all."""
    code = fn.cast(op, dtype=types.INT32)
    if code == OP_CODES["brightness"]:
        clip = fn.brightness_contrast(clip, brightness=value)
    elif code == OP_CODES["contrast"]:
        clip = contrast(clip, value)
    elif code == OP_CODES["color"]:
        clip = fn.saturation(clip, saturation=value)
    elif code == OP_CODES["sharpness"]:
        clip = sharpness(clip, value)
    elif code == OP_CODES["posterize"]:
        clip = clip & fn.cast(value, dtype=types.UINT8)
    elif code == OP_CODES["solarize"]:
        clip = solarize(clip, value)
    elif code == OP_CODES["autocontrast"]:
        clip = autocontrast(clip)
    elif code == OP_CODES["equalize"]:
        clip = equalize(clip, num_frames=num_frames, size=size)
    return clip


def contrast(clip, factor):
    """Blend of the clip with its mean. (Arithmetic: an operator's argument would have to be on the host.)"""
    mean = fn.reductions.mean(clip)
    return fn.cast((clip - mean) * factor + mean, dtype=types.UINT8)


def sharpness(clip, factor):
    """Blend of the clip with its 3x3 smoothing [1 1 1; 1 5 1; 1 1 1] / 13: one filter whose kernel is the blend."""
    smooth = types.Constant(np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13, device="cpu")
    centre = types.Constant(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32), device="cpu")
    kernel = smooth * (1.0 - factor) + centre * factor
    return fn.filter(clip, kernel.gpu() if clip.device == "gpu" else kernel)


def solarize(clip, threshold):
    """Invert the values that are `threshold` or more (255 - v is v ^ 255)."""
    above = fn.cast(clip >= threshold, dtype=types.UINT8)
    return clip ^ (above * types.Constant(255, dtype=types.UINT8))


def autocontrast(clip):
    """Stretch every channel to 0..255, by its range over the whole clip; a constant channel stays."""
    low = fn.reductions.min(clip, axis_names="FHW", keep_dims=True)
    span = fn.reductions.max(clip, axis_names="FHW", keep_dims=True) - low
    flat = fn.cast(span == types.Constant(0, dtype=types.UINT8), dtype=types.FLOAT)
    scale = (255.0 * (1.0 - flat) + flat) / (fn.cast(span, dtype=types.FLOAT) + flat)
    offset = fn.cast(low, dtype=types.FLOAT) * (1.0 - flat)
    return fn.cast((clip - offset) * scale, dtype=types.UINT8)


def equalize(clip, *, num_frames: int, size: int):
    """Flatten every channel's histogram over the whole clip: its frames, laid below each other, are one image."""
    image = fn.reshape(clip, shape=[num_frames * size, size, 3], layout="HWC")
    return fn.reshape(fn.equalize(image), shape=[num_frames, size, size, 3], layout="FHWC")


def cut_out(clip, cutout):
    """Cutout: one grey rectangle (y, x, height, width), the same in all frames."""
    return fn.erase(clip, anchor=cutout[0:2], shape=cutout[2:4], axis_names="HW", fill_value=FILL)


def with_flow(views, geometry: Geometry):
    """One view of each network, and where it is asked for, the optical flow of the auxiliary's."""
    return [*views, flow_view(views[1], geometry.crop_size)] if geometry.flow else list(views)


def flow_view(clip, size: int):
    """Pairs of frames (2T, S, S, 3) -> (T, S, S, 3) uint8: movement to the right and downwards, FLOW_LIMIT_PIXELS being
    127 from the middle, and a third channel at rest. Of what a view shows, its Cutout included."""
    vectors = optical_flow(clip)[::2]  # (T, ceil(S / grid), ..., 2): between the two of every pair
    vectors = fn.resize(vectors, size=[size, size], interp_type=types.INTERP_LINEAR)
    seen = fn.cast(vectors * (127.0 / FLOW_LIMIT_PIXELS) + 127.5, dtype=types.UINT8)
    return fn.pad(seen, axis_names="C", shape=[3], fill_value=127)


def optical_flow(clip):
    """Pixels (F - 1, h, w, 2) float32 that the picture moved by between neighbouring frames (F, S, S, 3), a vector for
    each 4 x 4 pixels: by the optical-flow unit of NVIDIA GPUs, Turing and later."""
    return fn.optical_flow(clip, device="gpu", output_grid=4)


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
