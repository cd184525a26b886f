"""What the demo's pictures are made of: shapes, textures, colors and smooth noise, exact on every machine.

A difference between platforms in the last place of a sine or a normal draw does not survive `settle`; the rest is +, -,
*, /, sqrt, floor and rint, which IEEE 754 fixes.

Shapes: T frames, H height, W width. Lengths are in pixels.
"""

from collections.abc import Callable

import numpy as np


def settle(values: np.ndarray | float) -> np.ndarray:
    """Rounded to multiples of 2^-16, float32: a difference in the last place of a sine does not survive."""
    return (np.rint(np.asarray(values, dtype=np.float64) * 65536) / 65536).astype(np.float32)


def rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) float32 in [0, 255] of a hue (in turns, any real), a saturation and a value in [0, 1]."""
    wheel = np.abs((hue * 6 - np.array([3, 5, 1])) % 6 - 3)  # sixths of a turn away
    return settle(255 * value * (1 - saturation * np.clip(wheel - 1, 0, 1)))


def bilinear(lattice: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """(T, H, W): the periodic lattice (N, N) read at rows (T, H) and columns (T, W), given in cells."""
    size = len(lattice)
    low, left = np.floor(row), np.floor(column)
    top, first = low.astype(np.int64) % size, left.astype(np.int64) % size
    down = (row - low)[:, :, None]
    rows = lattice[top] * (1 - down) + lattice[(top + 1) % size] * down  # (T, H, N)
    across = (column - left)[:, None, :]
    near = np.take_along_axis(rows, first[:, None, :], axis=2)
    far = np.take_along_axis(rows, (first[:, None, :] + 1) % size, axis=2)
    return near + (far - near) * across


def _disk(along: np.ndarray, across: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Signed distance to the outline in pixels, negative inside; so all shapes."""
    return np.sqrt(along * along + across * across) - radius


def _triangle(along: np.ndarray, across: np.ndarray, radius: np.ndarray) -> np.ndarray:
    slant = np.abs(along) * np.float32(0.8660254) - across * np.float32(0.5)
    return np.maximum(across, slant) - radius * np.float32(0.6)


def _cross(along: np.ndarray, across: np.ndarray, radius: np.ndarray) -> np.ndarray:
    along, across = np.abs(along), np.abs(across)
    arm = radius * np.float32(0.36)
    return np.maximum(np.maximum(along, across) - radius, np.minimum(along, across) - arm)


def _ring(along: np.ndarray, across: np.ndarray, radius: np.ndarray) -> np.ndarray:
    middle = np.sqrt(along * along + across * across) - radius * np.float32(0.74)
    return np.abs(middle) - radius * np.float32(0.28)


def _bar(along: np.ndarray, across: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(along) - radius, np.abs(across) - radius * np.float32(0.42))


SHAPES: tuple[Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], ...] = (
    _disk, _triangle, _cross, _ring, _bar,
)  # fmt: skip


def _wave(position: np.ndarray) -> np.ndarray:
    """A triangle wave in [-0.5, 0.5], 0.9 radii long."""
    cycles = position * np.float32(1 / 0.9)
    return np.abs(cycles - np.floor(cycles) - np.float32(0.5)) * 2 - np.float32(0.5)


def _solid(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """The share of the darker color, 0 to 1, at a place given in radii; so all textures."""
    return np.zeros((1, 1, 1), dtype=np.float32)


def _stripes(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 3 * _wave(along), 0, 1)


def _checks(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 10 * _wave(along) * _wave(across), 0, 1)


TEXTURES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (_solid, _stripes, _checks)
