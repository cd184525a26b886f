"""A slow, plain numpy twin of every stage of the graph: the oracle that tests compare with.

Legend: F frames, H, W source size, S crop side. Clips are uint8 (F, H, W, 3). Written from the definitions, without a
look at speed; nothing that trains imports it.
"""

import math

import numpy as np

from pipelines.plan.boxes import Box
from pipelines.plan.planner import ViewPlan
from pipelines.plan.rand_augment import FILL, Affine


def crop_resize(clip: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The box of every frame scaled to (F, size, size, 3): bilinear, widened to a triangle where it shrinks."""
    top, left, bottom, right = box
    rows = resize_weights(top, bottom, clip.shape[1], size)  # (S, H)
    columns = resize_weights(left, right, clip.shape[2], size)  # (S, W)
    out = np.einsum("ih,fhwc,jw->fijc", rows, clip.astype(np.float64), columns, optimize=True)
    return to_uint8(out)


def resize_weights(start: float, end: float, num_source: int, num_out: int) -> np.ndarray:
    """(num_out, num_source) weights of one axis; start > end mirrors. Edge pixels are repeated outside."""
    scale = (end - start) / num_out
    support = max(abs(scale), 1.0)
    weights = np.zeros((num_out, num_source))
    for i in range(num_out):
        center = start + (i + 0.5) * scale
        for pixel in range(math.floor(center - support), math.ceil(center + support) + 1):
            weight = max(0.0, 1 - abs(pixel + 0.5 - center) / support)
            weights[i, min(max(pixel, 0), num_source - 1)] += weight
    return weights / weights.sum(axis=1, keepdims=True)


def warp(clip: np.ndarray, affine: Affine) -> np.ndarray:
    """Every pixel of the result shows the position that the inverse map names, bilinearly; FILL outside."""
    size_y, size_x = clip.shape[1:3]
    a, b, x0, c, d, y0 = affine
    padded = np.full((len(clip), size_y + 2, size_x + 2, 3), float(FILL))
    padded[:, 1:-1, 1:-1] = clip
    out = np.full(clip.shape, float(FILL))
    for y in range(size_y):
        for x in range(size_x):
            source_x = a * (x + 0.5) + b * (y + 0.5) + x0 - 0.5
            source_y = c * (x + 0.5) + d * (y + 0.5) + y0 - 0.5
            left, top = math.floor(source_x), math.floor(source_y)
            if not (-1 <= left < size_x and -1 <= top < size_y):
                continue
            u, v = source_x - left, source_y - top
            corner = padded[:, top + 1 : top + 3, left + 1 : left + 3]
            across = corner[:, :, 0] * (1 - u) + corner[:, :, 1] * u
            out[:, y, x] = across[:, 0] * (1 - v) + across[:, 1] * v
    return to_uint8(out)


def photometric(clip: np.ndarray, op: str, value: float) -> np.ndarray:
    """One photometric operation with the value of `pipelines.plan.operations`."""
    real = clip.astype(np.float64)
    if op == "brightness":
        return to_uint8(real * value)
    if op == "contrast":
        return to_uint8((real - real.mean()) * value + real.mean())
    if op == "color":
        gray = (real @ np.array([0.299, 0.587, 0.114]))[..., None]
        return to_uint8(gray + (real - gray) * value)
    if op == "sharpness":
        return to_uint8(smoothed(real) * (1 - value) + real * value)
    if op == "posterize":
        return clip & np.uint8(value)
    if op == "solarize":
        return np.where(clip >= value, 255 - clip, clip).astype(np.uint8)
    if op == "autocontrast":
        return autocontrast(clip)
    if op == "equalize":
        return equalize(clip)
    raise ValueError(f"not a photometric operation: {op!r}")


def smoothed(clip: np.ndarray) -> np.ndarray:
    """[1 1 1; 1 5 1; 1 1 1] / 13 over every frame, mirrored at the edges without repeating the edge pixel."""
    padded = np.pad(clip, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    height, width = clip.shape[1:3]
    out = 4 * clip
    for dy in range(3):
        for dx in range(3):
            out = out + padded[:, dy : dy + height, dx : dx + width]
    return out / 13


def autocontrast(clip: np.ndarray) -> np.ndarray:
    """Every channel stretched to 0..255 by its range over the clip; a constant channel stays."""
    out = clip.copy()
    for channel in range(3):
        plane = clip[..., channel].astype(np.float64)
        low, high = plane.min(), plane.max()
        if high > low:
            out[..., channel] = to_uint8((plane - low) * 255 / (high - low))
    return out


def equalize(clip: np.ndarray) -> np.ndarray:
    """Every channel's histogram over the clip flattened: v -> round(255 (cdf(v) - cdf0) / (n - cdf0))."""
    out = clip.copy()
    for channel in range(3):
        plane = clip[..., channel]
        cdf = np.cumsum(np.bincount(plane.ravel(), minlength=256))
        first = cdf[plane.min()]
        if first < plane.size:
            table = np.clip(np.round(255 * (cdf - first) / (plane.size - first)), 0, 255)
            out[..., channel] = table.astype(np.uint8)[plane]
    return out


def cut_out(clip: np.ndarray, cutout: tuple[int, int, int, int]) -> np.ndarray:
    """One gray rectangle (y, x, height, width) in all frames."""
    y, x, height, width = cutout
    out = clip.copy()
    out[:, y : y + height, x : x + width] = FILL
    return out


def standard_view(video: np.ndarray, view: ViewPlan, *, size: int) -> np.ndarray:
    """T_standard of a whole decoded video (all its frames, H, W, 3) -> (F, S, S, 3)."""
    return crop_resize(video[view.frames], view.box, size)


def weak_view(video: np.ndarray, view: ViewPlan, box: Box, *, size: int) -> np.ndarray:
    """T_weak of a whole decoded video -> (F, S, S, 3)."""
    return crop_resize(video[view.frames], box, size)


def strong_view(video: np.ndarray, view: ViewPlan, *, size: int) -> np.ndarray:
    """T_strong of a whole decoded video -> (F, S, S, 3)."""
    clip = warp(standard_view(video, view, size=size), view.strong.inverse_affine)
    for op, value in view.strong.photometric:
        clip = photometric(clip, op, value)
    return cut_out(clip, view.strong.cutout)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Rounded and clipped to 0..255."""
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
