"""Frames of the demo data set: a colored shape that moves, over a quiet background.

A class has two cues, both always there. Its motion cannot be seen in a single frame, and its mirror image is
mostly another class's; its appearance (a hue, and a shape that two classes share) can, but classes overlap in
it. A smaller distractor of random shape, hue and motion moves along.

A video is a pure function of (seed, class, split, number), to the last bit on every machine: sines and normal
draws, which differ in the last place between platforms, touch only the few numbers a frame that pass through
`_settle`; what is done to pixels is +, -, *, /, sqrt, floor and rint, which IEEE 754 fixes.

Shapes: T frames, H height, W width. Lengths are in pixels; `unit`, 1/40 of the height, scales them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOTIONS = (
    "right", "left", "up", "down", "zoom_in", "zoom_out", "orbit_cw", "orbit_ccw", "sway", "bob",
)  # fmt: skip
"""What the object of class c does, and the name of the class."""

SPLITS = ("train", "val")
HUE_TENTHS = (0, 5, 2, 7, 4, 9, 6, 1, 8, 3)
HUE_SD = 0.04
"""In turns; neighboring classes are 0.1 apart, so that hue alone mistakes one video in five."""

DISTRACTOR_SIZE = 0.65
"""Relative to the object."""


@dataclass(frozen=True)
class Track:
    """Where an object is: center and radius in pixels, each (T,) float32."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray


def scene_rng(seed: int, *, class_index: int, split: str, number: int) -> np.random.Generator:
    """The random numbers of one video, independent of every other video's."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, number, class_index, SPLITS.index(split)]))


def render_video(rng: np.random.Generator, *, class_index: int, num_frames: int, width: int, height: int) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB frames of one video of the class; all that is random comes from `rng`."""
    unit = height / 40
    walk_x, walk_y = _settle(np.cumsum(rng.normal(0, 0.1 * unit, (2, num_frames)), axis=1))
    planes = _background(rng, walk_x, walk_y, width=width, height=height, unit=unit)
    hue, size = rng.random(), DISTRACTOR_SIZE
    motion, shape = MOTIONS[rng.integers(len(MOTIONS))], int(rng.integers(len(SHAPES)))
    _draw(planes, rng, motion=motion, shape=shape, hue=hue, size=size, walk=(walk_x, walk_y), unit=unit)
    hue, shape = HUE_TENTHS[class_index] / 10 + rng.normal(0, HUE_SD), class_index % len(SHAPES)
    motion = MOTIONS[class_index]
    _draw(planes, rng, motion=motion, shape=shape, hue=hue, size=1.0, walk=(walk_x, walk_y), unit=unit)
    return _expose(planes, rng)


def _settle(values: np.ndarray | float) -> np.ndarray:
    """Rounded to multiples of 2^-16, float32: a difference in the last place of a sine does not survive."""
    return (np.rint(np.asarray(values, dtype=np.float64) * 65536) / 65536).astype(np.float32)


def motion_track(
    motion: str,
    rng: np.random.Generator,
    *,
    num_frames: int,
    width: int,
    height: int,
    unit: float,
    size: float,
) -> Track:
    """One object's path, starting near the center; y points down, so `orbit_cw` is clockwise as seen."""
    frame = np.arange(num_frames)
    x = np.full(num_frames, width / 2 + rng.uniform(-5, 5) * unit)
    y = np.full(num_frames, height / 2 + rng.uniform(-5, 5) * unit)
    radius = np.full(num_frames, rng.uniform(5.5, 8) * unit * size)
    travel = 0.32 * rng.uniform(0.75, 1.3) * unit * frame
    period_frames, phase, reach = rng.uniform(40, 60), rng.random(), rng.random()
    turn = 2 * np.pi * (frame / period_frames + phase)
    if motion in ("right", "left"):
        x = _wrap(x + (travel if motion == "right" else -travel), width, margin=radius[0])
    elif motion in ("up", "down"):
        y = _wrap(y + (travel if motion == "down" else -travel), height, margin=radius[0])
    elif motion in ("zoom_in", "zoom_out"):
        ramp = (frame / (1.3 * period_frames) + phase) % 1
        radius = (3 + 8.5 * (ramp if motion == "zoom_in" else 1 - ramp)) * unit * size
    elif motion in ("orbit_cw", "orbit_ccw"):
        orbit = (7 + 3 * reach) * unit
        x = x + orbit * np.cos(turn)
        y = y + orbit * np.sin(turn) * (1 if motion == "orbit_cw" else -1)
    elif motion == "sway":
        x = x + (6 + 3 * reach) * unit * np.sin(turn)
    else:  # bob
        y = y + (6 + 3 * reach) * unit * np.sin(turn)
    return Track(x=_settle(x), y=_settle(y), radius=_settle(radius))


def _wrap(position: np.ndarray, side: int, *, margin: float) -> np.ndarray:
    """Out at one side, in at the other, once the object has left the frame."""
    return (position + margin) % (side + 2 * margin) - margin


def _background(
    rng: np.random.Generator, walk_x: np.ndarray, walk_y: np.ndarray, *, width: int, height: int, unit: float
) -> list[np.ndarray]:
    """Three (T, H, W) float32 planes: a grayish color and smooth noise that drifts with the camera."""
    gray = _settle(rng.uniform(40, 110) + rng.uniform(-12, 12, 3))
    num_cells, cell = 8, 8 * unit
    lattice = _settle(rng.uniform(-18, 18, (num_cells, num_cells)))
    drift = rng.uniform(-0.05, 0.05, 2) * unit
    frame = np.arange(len(walk_x))
    row = (np.arange(height) + _settle(frame * drift[1])[:, None] - walk_y[:, None]) / np.float32(cell)
    column = (np.arange(width) + _settle(frame * drift[0])[:, None] - walk_x[:, None]) / np.float32(cell)
    smooth = bilinear(lattice, row.astype(np.float32), column.astype(np.float32))
    return [smooth + value for value in gray]


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


def _draw(
    planes: list[np.ndarray], rng: np.random.Generator, *, motion: str, shape: int, hue: float, size: float,
    walk: tuple[np.ndarray, np.ndarray], unit: float,
) -> None:  # fmt: skip
    """Paint one object into the planes, in place."""
    num_frames, height, width = planes[0].shape
    track = motion_track(motion, rng, num_frames=num_frames, width=width, height=height, unit=unit, size=size)
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = _settle(np.cos(angle)), _settle(np.sin(angle))
    dx = np.arange(width, dtype=np.float32) - (track.x + walk[0])[:, None]  # (T, W)
    dy = np.arange(height, dtype=np.float32) - (track.y + walk[1])[:, None]  # (T, H)
    along = (cosine * dx)[:, None, :] + (sine * dy)[:, :, None]  # (T, H, W), in the object's own frame
    across = (cosine * dy)[:, :, None] - (sine * dx)[:, None, :]
    radius = track.radius[:, None, None]
    # An edge two pixels wide: what a lens and 4:2:0 leave of a sharp one.
    cover = np.clip(0.5 - SHAPES[shape](along, across, radius) * np.float32(0.5), 0, 1)
    texture = TEXTURES[rng.integers(len(TEXTURES))](along / radius, across / radius)
    light = rgb(hue, rng.uniform(0.55, 1), rng.uniform(0.8, 1))
    dark = light * _settle(rng.uniform(0.45, 0.7))
    for plane, bright, shaded in zip(planes, light, dark, strict=True):
        plane += cover * (bright + (shaded - bright) * texture - plane)


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


def rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) float32 in [0, 255] of a hue (in turns, any real), a saturation and a value in [0, 1]."""
    wheel = np.abs((hue * 6 - np.array([3, 5, 1])) % 6 - 3)  # sixths of a turn away
    return _settle(255 * value * (1 - saturation * np.clip(wheel - 1, 0, 1)))


def _expose(planes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) uint8: the planes times the light of the video, with sensor noise."""
    gain, noise_sd = _settle(rng.uniform(0.7, 1.15)), _settle(rng.uniform(3, 6))
    # Three bytes added: near enough normal, standard deviation 128, and exact.
    grains = rng.integers(0, 256, (3, *planes[0].shape), dtype=np.uint8)
    noise = grains[0].astype(np.float32) + grains[1] + grains[2] - np.float32(382.5)
    noise *= noise_sd / 128
    frames = np.empty((*planes[0].shape, 3), dtype=np.uint8)
    for channel, plane in enumerate(planes):
        frames[..., channel] = np.clip(np.rint(plane * gain + noise), 0, 255)
    return frames
