"""The strong view's operations in numpy: one warp, tone curves, a color matrix, a filter, Cutout.

DALI's CPU operators do the same in a multiple of the time (`python -m benchmarks.loaders.augment`). Values are those of
`pipelines.plan.operations`; all but the warp work in place.

Legend: F frames, S crop side; clips are uint8 (F, S, S, 3).
"""

from collections.abc import Iterator

import numpy as np

from pipelines.errors import InputError
from pipelines.plan.operations import Affine, Photometric, operation
from pipelines.plan.rand_augment import FILL

_EVEN_BYTES = np.uint32(0x00FF00FF)
"""Two of a pixel's four bytes; shifted down by eight, the other two. Each is multiplied in sixteen bits."""
_ODD_BYTES = np.uint32(0xFF00FF00)
_HALF = np.uint32(0x00800080)
_GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
BLOCK_PIXELS = 1 << 16
"""Pixels that are worked on at a time: few enough for the cache, many enough for numpy."""


def blocks(clip: np.ndarray) -> Iterator[np.ndarray]:
    """The clip (F, H, W, ...) in parts of some frames, without a copy."""
    num_frames = max(1, BLOCK_PIXELS // (clip.shape[1] * clip.shape[2]))
    for first in range(0, len(clip), num_frames):
        yield clip[first : first + num_frames]


class Warp:
    """One affine map for all frames of a clip: bilinear, FILL where it shows what lies outside.

    Weights have eight bits. A pixel is 32 bits of which one byte is free, and two that lie side by side are looked up
    at once, as 64 bits.
    """

    def __init__(self, inverse_affine: Affine, *, num_frames: int, size: int) -> None:
        self._size, self._row = size, size + 2  # with one pixel of FILL around
        a, b, x0, c, d, y0 = inverse_affine
        position = np.arange(size, dtype=np.float32) + np.float32(0.5)
        x, y = position[None, :], position[:, None]
        self._corner, self._weights = self._taps(a * x + b * y + (x0 - 0.5), c * x + d * y + (y0 - 0.5))
        self._pixels = np.full((num_frames, self._row, self._row), FILL * 0x010101, dtype=np.uint32)

    def _taps(self, source_x: np.ndarray, source_y: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Where in the padded picture each pixel's upper left tap lies (S * S,), and the weights (S * S, 2) uint32 of
        the upper and of the lower two taps; a pixel outside shows the padding's first corner."""
        left, top = np.floor(source_x), np.floor(source_y)
        inside = (left >= -1) & (left < self._size) & (top >= -1) & (top < self._size)
        corner = np.where(inside, (top + 1) * self._row + left + 1, 0).astype(np.int64)
        u = np.where(inside, np.rint((source_x - left) * 256), 0).astype(np.uint32)
        v = np.where(inside, np.rint((source_y - top) * 256), 0).astype(np.uint32)
        both = (u * v + 128) >> 8
        upper, lower = np.stack([256 - u - v + both, u - both], axis=-1), np.stack([v - both, both], axis=-1)
        return corner.ravel(), (upper.reshape(-1, 2), lower.reshape(-1, 2))

    def put(self, frame: int, planes: tuple[np.ndarray, ...]) -> None:
        """A picture as it comes, given as red, green and blue (S, S)."""
        channels = self._pixels[frame].view(np.uint8).reshape(self._row, self._row, 4)
        for channel, plane in enumerate(planes):
            channels[1:-1, 1:-1, channel] = plane

    def into(self, clip: np.ndarray) -> None:
        """Warps all pictures into `clip` (F, S, S, 3)."""
        first = 0
        for out in blocks(clip):  # the padded pictures are larger, and would be parted in other places
            warped = self._warped(self._pixels[first : first + len(out)]).view(np.uint8)
            warped = warped.reshape(len(out), self._size, self._size, 4)
            first += len(out)
            for channel in range(3):
                out[..., channel] = warped[..., channel]

    def _warped(self, pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.reshape(len(pixels), -1)
        pairs = np.stack([pixels[:, :-1], pixels[:, 1:]], axis=-1).view(np.uint64)[..., 0]
        even = odd = np.zeros((), dtype=np.uint32)  # sums over the taps, two colors each
        for first, weights in zip((0, self._row), self._weights, strict=True):
            taps = np.take(pairs[:, first:], self._corner, axis=1, mode="clip").view(np.uint32)
            taps = taps.reshape(len(pixels), -1, 2)
            low = (taps & _EVEN_BYTES) * weights
            high = ((taps >> np.uint32(8)) & _EVEN_BYTES) * weights
            even, odd = even + low, odd + high
        even, odd = even[..., 0] + even[..., 1] + _HALF, odd[..., 0] + odd[..., 1] + _HALF
        return ((even >> np.uint32(8)) & _EVEN_BYTES) | (odd & _ODD_BYTES)


def photometric(clip: np.ndarray, op: str, value: float) -> np.ndarray:
    """One photometric operation with its value; those built in work in place.

    Raises InputError for another kind of operation, and for a result that is no such clip.
    """
    drawn = operation(op)
    if not isinstance(drawn, Photometric):
        raise InputError(f"strong ops: received {op!r}, which moves pixels; accepted: a photometric operation")
    made = drawn.numpy_function()(clip, value)
    if not isinstance(made, np.ndarray) or made.shape != clip.shape or made.dtype != np.uint8:
        kind = f"{made.dtype} {made.shape}" if isinstance(made, np.ndarray) else type(made).__name__
        raise InputError(f"operation {op!r}: received {kind} from its function; accepted: uint8 {clip.shape}")
    return made


def toned(clip: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """v -> curve[v], in place; `curve` (256,) uint8 for all channels, or one for each (3, 256)."""
    for part in blocks(clip):
        if curve.ndim == 1:
            np.take(curve, part, out=part, mode="clip")
        else:
            for channel in range(3):
                part[..., channel] = curve[channel][part[..., channel]]
    return clip


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def brightness(clip: np.ndarray, factor: float) -> np.ndarray:
    """Values times the factor."""
    return toned(clip, _rounded(np.arange(256) * factor))


def contrast(clip: np.ndarray, factor: float) -> np.ndarray:
    """A blend with the mean of the clip."""
    mean = clip.sum(dtype=np.uint64) / clip.size
    return toned(clip, _rounded((np.arange(256) - mean) * factor + mean))


def posterize(clip: np.ndarray, mask: float) -> np.ndarray:
    """The bits of the mask."""
    return toned(clip, np.arange(256, dtype=np.uint8) & np.uint8(mask))


def solarize(clip: np.ndarray, threshold: float) -> np.ndarray:
    """Values of the threshold or more inverted."""
    values = np.arange(256)
    return toned(clip, np.where(values >= threshold, 255 - values, values).astype(np.uint8))


def autocontrast(clip: np.ndarray, value: float) -> np.ndarray:
    """Every channel stretched to 0..255 by its range over the clip; a constant channel stays."""
    rows = clip.reshape(-1, clip.shape[2] * 3)  # minima over long rows first: many times faster
    low, high = (extreme(extreme(rows, axis=0).reshape(-1, 3), axis=0).astype(int) for extreme in (np.min, np.max))
    values = np.arange(256)
    curves = [
        _rounded((values - a) * 255 / (b - a)) if b > a else values.astype(np.uint8)
        for a, b in zip(low.tolist(), high.tolist(), strict=True)
    ]
    return toned(clip, np.stack(curves))


def equalize(clip: np.ndarray, value: float) -> np.ndarray:
    """Every channel's histogram over the clip flattened, v -> round(255 (cdf(v) - cdf0) / (n - cdf0))."""
    curves = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    for channel in range(3):
        counts = np.bincount(clip[..., channel].ravel(), minlength=256)
        cdf = np.cumsum(counts)
        first, total = cdf[np.flatnonzero(counts)[0]], cdf[-1]
        if first < total:
            curves[channel] = np.clip(np.round(255 * (cdf - first) / (total - first)), 0, 255).astype(np.uint8)
    return toned(clip, curves)


def color(clip: np.ndarray, factor: float) -> np.ndarray:
    """A blend with the gray of each pixel: one color matrix."""
    matrix = np.eye(3, dtype=np.float32) * np.float32(factor) + _GRAY[:, None] * np.float32(1 - factor)
    for part in blocks(clip):
        blended = part.reshape(-1, 3).astype(np.float32) @ matrix
        blended += 0.5
        np.clip(blended, 0, 255, out=blended)
        part[...] = blended.reshape(part.shape)
    return clip


def sharpness(clip: np.ndarray, factor: float) -> np.ndarray:
    """A blend with the 3x3 smoothing [1 1 1; 1 5 1; 1 1 1] / 13, mirrored at the edges without the edge pixel."""
    share, width = np.float32((1 - factor) / 13), clip.shape[2]
    for part in blocks(clip):
        padded = np.pad(part.astype(np.int16), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        down = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
        box = down[:, :, :width] + down[:, :, 1:-1] + down[:, :, 2:]
        blended = (box + 4 * padded[:, 1:-1, 1:-1]) * share + part * np.float32(factor) + np.float32(0.5)
        part[...] = np.clip(blended, 0, 255)
    return clip


def cut_out(clip: np.ndarray, cutout: tuple[int, int, int, int]) -> None:
    """One gray rectangle (y, x, height, width) in all frames, in place."""
    y, x, height, width = cutout
    clip[:, y : y + height, x : x + width] = FILL
