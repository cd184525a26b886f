"""The strong view's operations on a CPU, in numpy: one warp, tone curves, a colour matrix, a filter, Cutout.

DALI's CPU operators do the same in a multiple of the time (`python -m benchmarks.augment`). Values are those of
`pipelines.strong`; all but the warp work in place.

Legend: F frames, S crop side; clips are uint8 (F, S, S, 3), pictures (S, S, 3).
"""

import numpy as np

from pipelines.strong import FILL, Affine

_EVEN_BYTES = np.uint32(0x00FF00FF)
"""Two of a pixel's four bytes; shifted down by eight, the other two. Each is multiplied in sixteen bits."""
_ODD_BYTES = np.uint32(0xFF00FF00)
_HALF = np.uint32(0x00800080)
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class Warp:
    """One affine map for all frames of a clip: bilinear, FILL where it shows what lies outside.

    Weights have eight bits. A picture's pixels are packed into 32 bits, two of them side by side in 64, so that one
    look-up fetches a pixel and its right neighbour.
    """

    def __init__(self, inverse_affine: Affine, *, size: int) -> None:
        self._size, self._row = size, size + 2  # with one pixel of FILL around
        a, b, x0, c, d, y0 = inverse_affine
        position = np.arange(size, dtype=np.float32) + np.float32(0.5)
        x, y = position[None, :], position[:, None]
        self._corner, weights = self._taps(a * x + b * y + (x0 - 0.5), c * x + d * y + (y0 - 0.5))
        self._weights = [pair.reshape(-1, 2) for pair in weights]
        self._packed = np.full((self._row, self._row), FILL * 0x010101, dtype=np.uint32)
        self._pairs = np.empty((self._row, self._row, 2), dtype=np.uint32)
        num_pixels = size * size
        self._taken = np.empty(num_pixels, dtype=np.uint64)
        self._work, self._even, self._odd = np.empty((3, num_pixels, 2), dtype=np.uint32)

    def _taps(self, source_x: np.ndarray, source_y: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Where in the padded picture each pixel's upper left tap lies (S * S,), and the weights (S, S, 2) uint32 of
        the upper and of the lower two taps; a pixel outside shows the padding's first corner."""
        left, top = np.floor(source_x), np.floor(source_y)
        inside = (left >= -1) & (left < self._size) & (top >= -1) & (top < self._size)
        corner = np.where(inside, (top + 1) * self._row + left + 1, 0).astype(np.int64)
        u = np.rint((source_x - left) * 256).astype(np.uint32)
        v = np.rint((source_y - top) * 256).astype(np.uint32)
        both = (u * v + 128) >> 8
        upper, lower = np.stack([256 - u - v + both, u - both], axis=-1), np.stack([v - both, both], axis=-1)
        for weights in (upper, lower):
            weights[~inside] = 0
        upper[~inside, 0] = 256
        return corner.ravel(), [upper, lower]

    def __call__(self, planes: tuple[np.ndarray, ...], out: np.ndarray) -> None:
        """Warps a picture given as red, green and blue (S, S) into `out` (S, S, 3)."""
        pixels = self._packed.view(np.uint8).reshape(self._row, self._row, 4)
        for channel, plane in enumerate(planes):
            pixels[1:-1, 1:-1, channel] = plane
        self._pairs[..., 0] = self._packed
        self._pairs.reshape(-1, 2)[:-1, 1] = self._packed.reshape(-1)[1:]
        lookup = self._pairs.view(np.uint64).reshape(-1)
        self._even.fill(_HALF)
        self._odd.fill(0)
        for first, weights in zip((0, self._row), self._weights, strict=True):
            np.take(lookup[first:], self._corner, out=self._taken, mode="clip")
            taken = self._taken.view(np.uint32).reshape(-1, 2)
            self._add(taken, weights)
        even, odd = self._even[:, 0], self._odd[:, 0]
        np.add(even, self._even[:, 1] - _HALF, out=even)
        np.add(odd, self._odd[:, 1], out=odd)
        np.add(odd, _HALF, out=odd)
        warped = ((even >> np.uint32(8)) & _EVEN_BYTES) | (odd & _ODD_BYTES)
        channels = warped.view(np.uint8).reshape(self._size, self._size, 4)
        for channel in range(3):
            out[..., channel] = channels[..., channel]

    def _add(self, taken: np.ndarray, weights: np.ndarray) -> None:
        work = self._work
        np.bitwise_and(taken, _EVEN_BYTES, out=work)
        np.multiply(work, weights, out=work)
        np.add(self._even, work, out=self._even)
        np.right_shift(taken, np.uint32(8), out=work)
        np.bitwise_and(work, _EVEN_BYTES, out=work)
        np.multiply(work, weights, out=work)
        np.add(self._odd, work, out=self._odd)


def photometric(clip: np.ndarray, op: str, value: float) -> None:
    """One photometric operation with the value of `pipelines.strong.photometric_value`, in place."""
    if op == "color":
        color(clip, value)
    elif op == "sharpness":
        sharpness(clip, value)
    else:
        apply_tone(clip, TONES[op](clip, value))


def apply_tone(clip: np.ndarray, curve: np.ndarray) -> None:
    """v -> curve[v], in place; `curve` (256,) uint8 for all channels, or one for each (3, 256)."""
    for picture in clip:
        if curve.ndim == 1:
            np.take(curve, picture, out=picture, mode="clip")
        else:
            for channel in range(3):
                picture[..., channel] = curve[channel][picture[..., channel]]


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def brightness_tone(clip: np.ndarray, factor: float) -> np.ndarray:
    """(256,): values times the factor."""
    return _rounded(np.arange(256) * factor)


def contrast_tone(clip: np.ndarray, factor: float) -> np.ndarray:
    """(256,): a blend with the mean of the clip."""
    mean = clip.sum(dtype=np.uint64) / clip.size
    return _rounded((np.arange(256) - mean) * factor + mean)


def posterize_tone(clip: np.ndarray, mask: float) -> np.ndarray:
    """(256,): the bits of the mask."""
    return np.arange(256, dtype=np.uint8) & np.uint8(mask)


def solarize_tone(clip: np.ndarray, threshold: float) -> np.ndarray:
    """(256,): values of the threshold or more inverted."""
    values = np.arange(256)
    return np.where(values >= threshold, 255 - values, values).astype(np.uint8)


def autocontrast_tone(clip: np.ndarray, value: float) -> np.ndarray:
    """(3, 256): every channel stretched to 0..255 by its range over the clip; a constant channel stays."""
    rows = clip.reshape(-1, clip.shape[2] * 3)  # minima over long rows first: many times faster
    low, high = (extreme(extreme(rows, axis=0).reshape(-1, 3), axis=0).astype(int) for extreme in (np.min, np.max))
    values = np.arange(256)
    return np.stack(
        [
            _rounded((values - a) * 255 / (b - a)) if b > a else values.astype(np.uint8)
            for a, b in zip(low.tolist(), high.tolist(), strict=True)
        ]
    )


def equalize_tone(clip: np.ndarray, value: float) -> np.ndarray:
    """(3, 256): every channel's histogram over the clip flattened, v -> round(255 (cdf(v) - cdf0) / (n - cdf0))."""
    curves = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    for channel in range(3):
        counts = np.bincount(clip[..., channel].ravel(), minlength=256)
        cdf = np.cumsum(counts)
        first, total = cdf[np.flatnonzero(counts)[0]], cdf[-1]
        if first < total:
            curves[channel] = np.clip(np.round(255 * (cdf - first) / (total - first)), 0, 255).astype(np.uint8)
    return curves


TONES = {
    "brightness": brightness_tone,
    "contrast": contrast_tone,
    "posterize": posterize_tone,
    "solarize": solarize_tone,
    "autocontrast": autocontrast_tone,
    "equalize": equalize_tone,
}
"""Operations that are a curve of values, made of the clip and the operation's value."""


def color(clip: np.ndarray, factor: float) -> None:
    """A blend with the grey of each pixel: one colour matrix."""
    matrix = np.eye(3, dtype=np.float32) * np.float32(factor) + _GREY[:, None] * np.float32(1 - factor)
    for picture in clip:
        blended = picture.reshape(-1, 3).astype(np.float32) @ matrix
        blended += 0.5
        np.clip(blended, 0, 255, out=blended)
        picture[...] = blended.reshape(picture.shape)


def sharpness(clip: np.ndarray, factor: float) -> None:
    """A blend with the 3x3 smoothing [1 1 1; 1 5 1; 1 1 1] / 13, mirrored at the edges without the edge pixel."""
    share = np.float32((1 - factor) / 13)
    width = clip.shape[2]
    for picture in clip:
        padded = np.pad(picture.astype(np.int16), ((1, 1), (1, 1), (0, 0)), mode="reflect")
        down = padded[:-2] + padded[1:-1] + padded[2:]
        box = down[:, :width] + down[:, 1:-1] + down[:, 2:]
        blended = (box + 4 * padded[1:-1, 1:-1]) * share + picture * np.float32(factor) + np.float32(0.5)
        picture[...] = np.clip(blended, 0, 255)


def cut_out(clip: np.ndarray, cutout: tuple[int, int, int, int]) -> None:
    """One grey rectangle (y, x, height, width) in all frames, in place."""
    y, x, height, width = cutout
    clip[:, y : y + height, x : x + width] = FILL
