"""The strong view's operations in numpy: tone curves, a color matrix, a filter, Cutout.

DALI's CPU operators do the same in a multiple of the time (`python -m benchmarks.loaders.augment`). Values are those of
`pipelines.plan.operations`; all work in place. Tone curves that follow one another are applied by one lookup.

Legend: F frames, S crop side; clips are uint8 (F, S, S, 3), in memory in any order. Fastest is plane after plane, as
`pipelines.views.make` has them.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pipelines.errors import InputError
from pipelines.plan.operations import NumpyFunction, Photometric, operation
from pipelines.plan.rand_augment import FILL

_GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
BLOCK_PIXELS = 1 << 16
"""Pixels that are worked on at a time: few enough for the cache, many enough for numpy."""


def blocks(clip: np.ndarray) -> Iterator[np.ndarray]:
    """The clip (F, H, W, ...) in parts of some frames, without a copy."""
    num_frames = max(1, BLOCK_PIXELS // (clip.shape[1] * clip.shape[2]))
    for first in range(0, len(clip), num_frames):
        yield clip[first : first + num_frames]


def photometrics(clip: np.ndarray, drawn: Sequence[tuple[str, float]]) -> np.ndarray:
    """Photometric operations (name, value) one after another; those built in work in place.

    Raises InputError for another kind of operation, and for a result that is no such clip.
    """
    tones = Tones(clip)
    for op, value in drawn:
        function = _function_of(op)
        if function in _CURVES:
            tones.then(_CURVES[function](tones, value))
            continue
        clip = tones.applied()
        # An operation from outside may count on rows of whole pixels.
        made = function(clip if function in _OTHERS else np.ascontiguousarray(clip), value)
        if not isinstance(made, np.ndarray) or made.shape != clip.shape or made.dtype != np.uint8:
            kind = f"{made.dtype} {made.shape}" if isinstance(made, np.ndarray) else type(made).__name__
            raise InputError(f"operation {op!r}: received {kind} from its function; accepted: uint8 {clip.shape}")
        tones = Tones(made)
    return tones.applied()


def photometric(clip: np.ndarray, op: str, value: float) -> np.ndarray:
    """One photometric operation, as `photometrics` does it."""
    return photometrics(clip, [(op, value)])


def _function_of(op: str) -> NumpyFunction:
    drawn = operation(op)
    if not isinstance(drawn, Photometric):
        raise InputError(f"strong ops: received {op!r}, which moves pixels; accepted: a photometric operation")
    return drawn.numpy_function()


class Tones:
    """A clip, and the tone curves that its channels are still to go through.

    Statistics are those of the clip behind these curves, to the last bit.
    """

    def __init__(self, clip: np.ndarray) -> None:
        self._clip = clip
        self._curves: np.ndarray | None = None  # (3, 256) uint8

    def then(self, curves: np.ndarray) -> None:
        """Adds a curve (256,) uint8 for all channels, or one for each (3, 256)."""
        curves = np.broadcast_to(curves, (3, 256))
        before = self._curves
        self._curves = curves if before is None else np.take_along_axis(curves, before.astype(np.intp), axis=1)

    def applied(self) -> np.ndarray:
        """The clip, its values looked up."""
        if self._curves is not None:
            for channel, curve in enumerate(self._curves):
                table = curve.tobytes()
                for part in blocks(self._clip[..., channel]):  # bytes.translate takes half the time of numpy's take
                    part[...] = np.frombuffer(part.tobytes().translate(table), np.uint8).reshape(part.shape)
            self._curves = None
        return self._clip

    def mean(self) -> float:
        """Mean over all values."""
        clip = self.applied()
        total = sum(int(part.sum(dtype=np.uint32)) for channel in range(3) for part in blocks(clip[..., channel]))
        return total / clip.size

    def extremes(self) -> list[tuple[int, int]]:
        """Least and largest value of each channel."""
        clip = self.applied()
        return [(int(clip[..., channel].min()), int(clip[..., channel].max())) for channel in range(3)]

    def counts(self) -> np.ndarray:
        """How often each channel has each value, (3, 256)."""
        counts = np.stack([_counts(self._clip[..., channel]) for channel in range(3)])
        if self._curves is not None:
            counts = np.stack(
                [np.bincount(curve, n, minlength=256) for curve, n in zip(self._curves, counts, strict=True)]
            )
        return counts.astype(np.int64)


def _counts(plane: np.ndarray) -> np.ndarray:
    """How often each value occurs, (256,); two values are counted at once."""
    values = np.ascontiguousarray(plane).reshape(-1)
    pairs = np.bincount(values[: len(values) // 2 * 2].view(np.uint16), minlength=1 << 16).reshape(256, 256)
    return pairs.sum(axis=0) + pairs.sum(axis=1) + np.bincount(values[len(values) // 2 * 2 :], minlength=256)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def _brightness(tones: Tones, factor: float) -> np.ndarray:
    return _rounded(np.arange(256) * factor)


def _contrast(tones: Tones, factor: float) -> np.ndarray:
    mean = tones.mean()
    return _rounded((np.arange(256) - mean) * factor + mean)


def _posterize(tones: Tones, mask: float) -> np.ndarray:
    return np.arange(256, dtype=np.uint8) & np.uint8(mask)


def _solarize(tones: Tones, threshold: float) -> np.ndarray:
    values = np.arange(256)
    return np.where(values >= threshold, 255 - values, values).astype(np.uint8)


def _autocontrast(tones: Tones, value: float) -> np.ndarray:
    values = np.arange(256)
    return np.stack(
        [
            _rounded((values - low) * 255 / (high - low)) if high > low else values.astype(np.uint8)
            for low, high in tones.extremes()
        ]
    )


def _equalize(tones: Tones, value: float) -> np.ndarray:
    curves = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    for channel, counts in enumerate(tones.counts()):
        cdf = np.cumsum(counts)
        first, total = cdf[np.flatnonzero(counts)[0]], cdf[-1]
        if first < total:
            curves[channel] = np.clip(np.round(255 * (cdf - first) / (total - first)), 0, 255).astype(np.uint8)
    return curves


def _toned(clip: np.ndarray, curves_of: Callable[[Tones, float], np.ndarray], value: float) -> np.ndarray:
    tones = Tones(clip)
    tones.then(curves_of(tones, value))
    return tones.applied()


def brightness(clip: np.ndarray, factor: float) -> np.ndarray:
    """Values times the factor."""
    return _toned(clip, _brightness, factor)


def contrast(clip: np.ndarray, factor: float) -> np.ndarray:
    """A blend with the mean of the clip."""
    return _toned(clip, _contrast, factor)


def posterize(clip: np.ndarray, mask: float) -> np.ndarray:
    """The bits of the mask."""
    return _toned(clip, _posterize, mask)


def solarize(clip: np.ndarray, threshold: float) -> np.ndarray:
    """Values of the threshold or more inverted."""
    return _toned(clip, _solarize, threshold)


def autocontrast(clip: np.ndarray, value: float) -> np.ndarray:
    """Every channel stretched to 0..255 by its range over the clip; a constant channel stays."""
    return _toned(clip, _autocontrast, value)


def equalize(clip: np.ndarray, value: float) -> np.ndarray:
    """Every channel's histogram over the clip flattened, v -> round(255 (cdf(v) - cdf0) / (n - cdf0))."""
    return _toned(clip, _equalize, value)


def color(clip: np.ndarray, factor: float) -> np.ndarray:
    """A blend with the gray of each pixel: one color matrix."""
    matrix = np.eye(3, dtype=np.float32) * np.float32(factor) + _GRAY[None, :] * np.float32(1 - factor)
    for part in blocks(clip):
        planes = np.moveaxis(part, -1, 0)
        blended = matrix @ planes.astype(np.float32, order="C").reshape(3, -1)
        blended += 0.5
        np.clip(blended, 0, 255, out=blended)
        planes[...] = blended.reshape(planes.shape)
    return clip


def sharpness(clip: np.ndarray, factor: float) -> np.ndarray:
    """A blend with the 3x3 smoothing [1 1 1; 1 5 1; 1 1 1] / 13, mirrored at the edges without the edge pixel."""
    share, own, width = np.float32((1 - factor) / 13), np.float32(factor + 4 * (1 - factor) / 13), clip.shape[2]
    for channel in range(3):
        for part in blocks(clip[..., channel]):
            padded = np.pad(part.astype(np.uint16), ((0, 0), (1, 1), (1, 1)), mode="reflect")
            down = padded[:, :-2] + padded[:, 1:-1]
            down += padded[:, 2:]
            box = down[:, :, :width] + down[:, :, 1:-1]
            box += down[:, :, 2:]
            blended = box * share
            blended += part * own
            blended += np.float32(0.5)
            np.clip(blended, 0, 255, out=blended)
            part[...] = blended
    return clip


_CURVES: dict[NumpyFunction, Callable[[Tones, float], np.ndarray]] = {
    brightness: _brightness,
    contrast: _contrast,
    posterize: _posterize,
    solarize: _solarize,
    autocontrast: _autocontrast,
    equalize: _equalize,
}
_OTHERS: tuple[NumpyFunction, ...] = (color, sharpness)


def cut_out(clip: np.ndarray, cutout: tuple[int, int, int, int]) -> None:
    """One gray rectangle (y, x, height, width) in all frames, in place."""
    y, x, height, width = cutout
    clip[:, y : y + height, x : x + width] = FILL
