"""What the DALI graphs do to a clip, one operator or a few a function; nothing here is random.

Legend: F frames, H x W pixels of the source, S crop side. `clip` is a DALI node of (F, H, W, 3) uint8; parameters are
nodes of the row that the plan was written into (`loading.parameters`). DALI's nodes have no useful static type: `Node`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from nvidia.dali import fn, types

from pipelines.errors import InputError
from pipelines.loading.parameters import ViewRow
from pipelines.plan.geometry import Geometry
from pipelines.plan.operations import DaliFunction, Photometric, operation
from pipelines.plan.rand_augment import FILL, StrongSpec
from pipelines.views.flow import FLOW_CENTER, FLOW_SCALE, THIRD_CHANNEL

Node = Any
Branches = tuple[tuple[int, DaliFunction], ...]
"""(code, function) of each photometric operation that a graph may meet."""


def split(clip: Node, geometry: Geometry) -> tuple[Node, ...]:
    """(F, ...) -> the primary's frames and, where there is one, the auxiliary's."""
    if geometry.auxiliary is None:
        return (clip,)
    first = geometry.primary.num_frames
    return clip[0:first], clip[first : geometry.num_frames]


def crop_resize(clip: Node, box: Node, size: int) -> Node:
    """The box (5,) of every frame, scaled to `size` x `size`: a `StoredBox`, whose reversed sides flip the view."""
    clip = fn.resize(
        clip,
        roi_start=box[0:2],
        roi_end=box[2:4],
        size=[size, size],
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )
    if box[4] > 0.5:
        clip = fn.transpose(clip, perm=[0, 2, 1, 3], transpose_layout=False)
    return clip


def strong_view(clip: Node, row: Node, *, num_ops: int, branches: Branches, num_frames: int, size: int) -> Node:
    """T_strong: standard crop, one affine warp, the photometric operations in order, Cutout."""
    view = ViewRow.of(row)
    shape = num_frames, size, size, 3
    clip = crop_resize(clip, view.box, size)
    clip = warp(clip, view.warp)
    for k in range(num_ops if branches else 0):
        code = fn.cast(view.ops[2 * k], dtype=types.INT32)
        clip = photometric(clip, code, view.ops[2 * k + 1], branches=branches, shape=shape)
    return cut_out(clip, view.cutout)


def warp(clip: Node, affine: Node) -> Node:
    """RandAugment's geometric operations as one map of pixel positions; skipped where it is the identity."""
    if affine[0] > 0.5:
        matrix = fn.reshape(affine[1:7], shape=[2, 3])
        clip = fn.warp_affine(clip, matrix=matrix, fill_value=FILL, interp_type=types.INTERP_LINEAR)
    return clip


def photometric_functions(spec: StrongSpec) -> Branches:
    """The photometric operations that a specification may draw. Raises InputError for one without a DALI function."""
    branches = []
    for index, name in enumerate(spec.ops):
        drawn = operation(name)
        if isinstance(drawn, Photometric):
            function = drawn.dali_function()
            if function is None:
                raise InputError(
                    f"strong ops: received {name!r} with a GPU, where it has no function; accepted: an operation that "
                    "is registered with `dali=`, or the device cpu"
                )
            branches.append((1 + index, function))
    return tuple(branches)


def photometric(clip: Node, code: Node, value: Node, *, branches: Branches, shape: tuple[int, ...]) -> Node:
    """One photometric operation, chosen by its code in the plan. Samples are sent down one branch, not all."""
    (own, function), others = branches[0], branches[1:]
    if code == own:
        clip = function(clip, value, shape=shape)
    else:
        if others:
            clip = photometric(clip, code, value, branches=others, shape=shape)
    return clip


def brightness(clip: Node, factor: Node, *, shape: tuple[int, ...]) -> Node:
    """Values times the factor."""
    return fn.brightness_contrast(clip, brightness=factor)


def color(clip: Node, factor: Node, *, shape: tuple[int, ...]) -> Node:
    """Blend of each pixel with its gray."""
    return fn.saturation(clip, saturation=factor)


def posterize(clip: Node, mask: Node, *, shape: tuple[int, ...]) -> Node:
    """Keep the bits of the mask."""
    return clip & fn.cast(mask, dtype=types.UINT8)


def contrast(clip: Node, factor: Node, *, shape: tuple[int, ...]) -> Node:
    """Blend of the clip with its mean. (Arithmetic: an operator's argument would have to be on the host.)"""
    mean = fn.reductions.mean(clip)
    return fn.cast((clip - mean) * factor + mean, dtype=types.UINT8)


def sharpness(clip: Node, factor: Node, *, shape: tuple[int, ...]) -> Node:
    """Blend of the clip with its 3x3 smoothing [1 1 1; 1 5 1; 1 1 1] / 13: one filter whose kernel is the blend."""
    smooth = types.Constant(np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13, device="cpu")
    center = types.Constant(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32), device="cpu")
    kernel = smooth * (1.0 - factor) + center * factor
    return fn.filter(clip, kernel.gpu() if clip.device == "gpu" else kernel)


def solarize(clip: Node, threshold: Node, *, shape: tuple[int, ...]) -> Node:
    """Invert the values that are `threshold` or more (255 - v is v ^ 255)."""
    above = fn.cast(clip >= threshold, dtype=types.UINT8)
    return clip ^ (above * types.Constant(255, dtype=types.UINT8))


def autocontrast(clip: Node, value: Node, *, shape: tuple[int, ...]) -> Node:
    """Stretch every channel to 0..255, by its range over the whole clip; a constant channel stays."""
    low = fn.reductions.min(clip, axis_names="FHW", keep_dims=True)
    span = fn.reductions.max(clip, axis_names="FHW", keep_dims=True) - low
    flat = fn.cast(span == types.Constant(0, dtype=types.UINT8), dtype=types.FLOAT)
    scale = (255.0 * (1.0 - flat) + flat) / (fn.cast(span, dtype=types.FLOAT) + flat)
    offset = fn.cast(low, dtype=types.FLOAT) * (1.0 - flat)
    return fn.cast((clip - offset) * scale, dtype=types.UINT8)


def equalize(clip: Node, value: Node, *, shape: tuple[int, ...]) -> Node:
    """Flatten every channel's histogram over the whole clip: its frames, laid below each other, are one image."""
    image = fn.reshape(clip, shape=[shape[0] * shape[1], *shape[2:]], layout="HWC")
    return fn.reshape(fn.equalize(image), shape=list(shape), layout="FHWC")


def cut_out(clip: Node, cutout: Node) -> Node:
    """Cutout: one gray rectangle (y, x, height, width), the same in all frames."""
    return fn.erase(clip, anchor=cutout[0:2], shape=cutout[2:4], axis_names="HW", fill_value=FILL)


def with_flow(views: Sequence[Node], geometry: Geometry) -> list[Node]:
    """One view of each network, and where it is asked for, the optical flow of the auxiliary's."""
    return [*views, flow_view(views[1], geometry.crop_size)] if geometry.flow else list(views)


def flow_view(clip: Node, size: int) -> Node:
    """Pairs of frames (2T, S, S, 3) -> (T, S, S, 3) uint8: movement to the right and downwards, FLOW_LIMIT_PIXELS being
    127 from the middle, and a constant third channel. Of what a view shows, its Cutout included."""
    vectors = optical_flow(clip)[::2]  # (T, ceil(S / grid), ..., 2): between the two of every pair
    vectors = fn.resize(vectors, size=[size, size], interp_type=types.INTERP_LINEAR)
    seen = fn.cast(vectors * FLOW_SCALE + FLOW_CENTER, dtype=types.UINT8)
    return fn.pad(seen, axis_names="C", shape=[3], fill_value=THIRD_CHANNEL)


def optical_flow(clip: Node) -> Node:
    """Pixels (F - 1, h, w, 2) float32 that the picture moved by between neighboring frames (F, S, S, 3), a vector for
    each 4 x 4 pixels: by the optical-flow unit of NVIDIA GPUs, Turing and later."""
    return fn.optical_flow(clip, device="gpu", output_grid=4)
