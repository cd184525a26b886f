"""One affine map for all frames of a clip, plane by plane: bilinear, with weights of eight bits.

Legend: F frames, S crop side. Planes lie one behind another: uint8 (3, F, S, S).
"""

import numpy as np

from pipelines.plan.operations import Affine
from pipelines.plan.rand_augment import FILL

_ONE, _HALF = 256, 128
"""Sum of the weights of a pixel, and what rounds to the nearest. 255 * _ONE + _HALF just fits 16 bits."""


class Warp:
    """Shows at every pixel the position that an inverse map names; FILL where that lies outside.

    Two pixels that lie side by side are looked up at once, as 16 bits. Where the map moves pixels along rows alone, or
    along columns alone, one look-up is enough.
    """

    def __init__(self, inverse_affine: Affine, *, num_frames: int, size: int) -> None:
        self._size, self._row = size, size + 2  # with one pixel of FILL around
        a, b, x0, c, d, y0 = inverse_affine
        position = np.arange(size, dtype=np.float32) + np.float32(0.5)
        x, y = position[None, :], position[:, None]
        self._taps(a * x + b * y + (x0 - 0.5), c * x + d * y + (y0 - 0.5))
        self._pixels = np.full((3, num_frames, self._row, self._row), FILL, dtype=np.uint8)

    def _taps(self, source_x: np.ndarray, source_y: np.ndarray) -> None:
        """Finds where in the padded picture each pixel's upper left tap lies (S * S,); a pixel outside shows the
        padding's first corner. Its pairs of taps are (step to the second of a pair, step to the pair, weights)."""
        left, top = np.floor(source_x), np.floor(source_y)
        inside = (left >= -1) & (left < self._size) & (top >= -1) & (top < self._size)
        self._corner = np.where(inside, (top + 1) * self._row + left + 1, 0).astype(np.int64).ravel()
        u = np.where(inside, np.rint((source_x - left) * _ONE), 0).astype(np.uint16).ravel()
        v = np.where(inside, np.rint((source_y - top) * _ONE), 0).astype(np.uint16).ravel()
        if not v.any():
            self._pairs = [(1, 0, (_ONE - u, u))]
        elif not u.any():
            self._pairs = [(self._row, 0, (_ONE - v, v))]
        else:
            both = ((u.astype(np.uint32) * v + _HALF) // _ONE).astype(np.uint16)
            self._pairs = [(1, 0, (_ONE - u - v + both, u - both)), (1, self._row, (v - both, both))]

    def put(self, frame: int, planes: tuple[np.ndarray, ...]) -> None:
        """Takes a picture as it comes, given as red, green and blue (S, S)."""
        for channel, plane in enumerate(planes):
            self._pixels[channel, frame, 1:-1, 1:-1] = plane

    def into(self, planes: np.ndarray) -> None:
        """Warps all pictures into `planes` (3, F, S, S)."""
        (step, _, _), num_pixels = self._pairs[0], self._row**2
        pairs = np.empty(num_pixels - step, dtype=np.uint16)
        taps, products = (np.empty(self._size**2, dtype=np.uint16) for _ in range(2))
        total = np.empty(self._size**2, dtype=np.uint16)
        for source, out in zip(self._pixels.reshape(-1, num_pixels), planes.reshape(-1, self._size**2), strict=True):
            pairs[:] = source[step:]
            pairs <<= 8
            pairs |= source[:-step]
            total[:] = _HALF
            for _, first, (near, far) in self._pairs:
                np.take(pairs[first:], self._corner, out=taps, mode="clip")
                np.bitwise_and(taps, 255, out=products)
                products *= near
                total += products
                taps >>= 8
                taps *= far
                total += taps
            total >>= 8
            out[:] = total
