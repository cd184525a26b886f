"""Frames of the demo data set: two shots of a colored shape that moves, over a quiet background.

A class has three cues. Its motion cannot be seen in a single frame, and its mirror image is mostly another class's. Its
shape is shared by two classes. Its hue is seen in one of two looks: on the object, over a gray ground, or on the
ground, below a gray object. The two hues of a class have nothing to do with each other: whoever knows one look of a
class does not know the other. Each shot of a video draws its look anew, as it does all else but class, motion and
shape. So half of the videos show both looks of their class, one after the other. A smaller gray distractor of random
shape and motion moves along.

A video is a pure function of (seed, class, split, number), to the last bit on every machine (see `demo_shapes`).

Shapes: T frames, H height, W width. Lengths are in pixels; `unit`, 1/40 of the height, scales them.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from pipelines.datasets.demo_shapes import SHAPES, TEXTURES, bilinear, rgb, settle

MOTIONS = (
    "right", "left", "up", "down", "zoom_in", "zoom_out", "orbit_cw", "orbit_ccw", "sway", "bob",
)  # fmt: skip
"""What the object of class c does, and the name of the class."""

SPLITS = ("train", "val")
NUM_SHOTS = 2

OBJECT_HUES = (0.7, 0.6, 0.1, 0.3, 0.2, 0.4, 0.0, 0.9, 0.5, 0.8)
GROUND_HUES = (0.35, 0.05, 0.55, 0.15, 0.85, 0.45, 0.25, 0.95, 0.75, 0.65)
HUE_SD = 0.018
"""In turns. Neighbors in a look are 0.1 apart; classes that are neighbors in one look are 0.3 apart in the other, else
one is soon taken for the other in both. No class's object has the hue of another's ground."""
GROUND_TINT = (80.0, 100.0)
"""Least and largest strength of a colored ground, in gray levels from the weakest channel to the strongest. A weaker
tint, beside grounds of many grays, is learned badly from one video."""

TICKS_PER_FRAME = 6
"""Speeds and periods of motions are told in ticks of 1/90 of a second."""
OBJECT_SIZE, DISTRACTOR_SIZE = 1.2, 0.45


class Look(Enum):
    """Where a shot shows the class's hue."""

    OBJECT = "object"
    GROUND = "ground"


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
    looks = [tuple(Look)[rng.integers(len(Look))] for _ in range(NUM_SHOTS)]
    lengths = [num_frames // NUM_SHOTS, num_frames - num_frames // NUM_SHOTS]
    shots = [
        render_shot(rng, class_index=class_index, look=look, num_frames=length, width=width, height=height)
        for look, length in zip(looks, lengths, strict=True)
    ]
    return np.concatenate(shots)


def render_shot(
    rng: np.random.Generator, *, class_index: int, look: Look, num_frames: int, width: int, height: int
) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB frames of one shot."""
    unit = height / 40
    walk = settle(np.cumsum(rng.normal(0, 0.14 * unit, (2, num_frames)), axis=1))
    planes = _background(rng, *walk, width=width, height=height, unit=unit)
    object_rgb = _colored(planes, rng, class_index=class_index, look=look)
    distractor_rgb = rgb(rng.random(), rng.uniform(0, 0.1), rng.uniform(0.8, 1))
    motion, shape = MOTIONS[rng.integers(len(MOTIONS))], int(rng.integers(len(SHAPES)))
    _draw(planes, rng, motion=motion, shape=shape, light=distractor_rgb, size=DISTRACTOR_SIZE, walk=walk, unit=unit)
    motion, shape = MOTIONS[class_index], class_index % len(SHAPES)
    _draw(planes, rng, motion=motion, shape=shape, light=object_rgb, size=OBJECT_SIZE, walk=walk, unit=unit)
    return _expose(planes, rng)


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
    tick = TICKS_PER_FRAME * np.arange(num_frames)
    x = np.full(num_frames, width / 2 + rng.uniform(-5, 5) * unit)
    y = np.full(num_frames, height / 2 + rng.uniform(-5, 5) * unit)
    radius = np.full(num_frames, rng.uniform(5.5, 8) * unit * size)
    travel = 0.32 * rng.uniform(0.75, 1.3) * unit * tick
    period_ticks, phase, reach = rng.uniform(40, 60), rng.random(), rng.random()
    turn = 2 * np.pi * (tick / period_ticks + phase)
    if motion in ("right", "left"):
        x = _wrap(x + (travel if motion == "right" else -travel), width, margin=radius[0])
    elif motion in ("up", "down"):
        y = _wrap(y + (travel if motion == "down" else -travel), height, margin=radius[0])
    elif motion in ("zoom_in", "zoom_out"):
        ramp = (tick / (1.3 * period_ticks) + phase) % 1
        radius = (3 + 8.5 * (ramp if motion == "zoom_in" else 1 - ramp)) * unit * size
    elif motion in ("orbit_cw", "orbit_ccw"):
        orbit = (7 + 3 * reach) * unit
        x = x + orbit * np.cos(turn)
        y = y + orbit * np.sin(turn) * (1 if motion == "orbit_cw" else -1)
    elif motion == "sway":
        x = x + (6 + 3 * reach) * unit * np.sin(turn)
    else:  # bob
        y = y + (6 + 3 * reach) * unit * np.sin(turn)
    return Track(x=settle(x), y=settle(y), radius=settle(radius))


def _wrap(position: np.ndarray, side: int, *, margin: float) -> np.ndarray:
    """Out at one side, in at the other, once the object has left the frame."""
    return (position + margin) % (side + 2 * margin) - margin


def _background(
    rng: np.random.Generator, walk_x: np.ndarray, walk_y: np.ndarray, *, width: int, height: int, unit: float
) -> list[np.ndarray]:
    """Three (T, H, W) float32 planes: a grayish color and smooth noise that drifts with the camera."""
    gray = settle(rng.uniform(60, 90) + rng.uniform(-5, 5, 3))
    num_cells, cell = 8, 8 * unit
    lattice = settle(rng.uniform(-18, 18, (num_cells, num_cells)))
    drift = rng.uniform(-0.1, 0.1, 2) * unit
    frame = np.arange(len(walk_x))
    row = (np.arange(height) + settle(frame * drift[1])[:, None] - walk_y[:, None]) / np.float32(cell)
    column = (np.arange(width) + settle(frame * drift[0])[:, None] - walk_x[:, None]) / np.float32(cell)
    smooth = bilinear(lattice, row.astype(np.float32), column.astype(np.float32))
    return [smooth + value for value in gray]


def _colored(planes: list[np.ndarray], rng: np.random.Generator, *, class_index: int, look: Look) -> np.ndarray:
    """The object's color (3,), 0 to 255; under `Look.GROUND` it is gray and the ground gets the hue, in place."""
    if look is Look.OBJECT:
        hue = OBJECT_HUES[class_index] + rng.normal(0, HUE_SD)
        return rgb(hue, rng.uniform(0.85, 1), rng.uniform(0.8, 1))
    hue = GROUND_HUES[class_index] + rng.normal(0, HUE_SD)
    tint = settle((rgb(hue, 1, 1) / 255 - 0.5) * rng.uniform(*GROUND_TINT))
    for plane, value in zip(planes, tint, strict=True):
        plane += value
    return rgb(0, rng.uniform(0, 0.08), rng.uniform(0.8, 1))


def _draw(
    planes: list[np.ndarray], rng: np.random.Generator, *, motion: str, shape: int, light: np.ndarray, size: float,
    walk: np.ndarray, unit: float,
) -> None:  # fmt: skip
    """Paint one object of the color `light` (3,) into the planes, in place."""
    num_frames, height, width = planes[0].shape
    track = motion_track(motion, rng, num_frames=num_frames, width=width, height=height, unit=unit, size=size)
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = settle(np.cos(angle)), settle(np.sin(angle))
    dx = np.arange(width, dtype=np.float32) - (track.x + walk[0])[:, None]  # (T, W)
    dy = np.arange(height, dtype=np.float32) - (track.y + walk[1])[:, None]  # (T, H)
    along = (cosine * dx)[:, None, :] + (sine * dy)[:, :, None]  # (T, H, W), in the object's own frame
    across = (cosine * dy)[:, :, None] - (sine * dx)[:, None, :]
    radius = track.radius[:, None, None]
    # An edge two pixels wide: what a lens and 4:2:0 leave of a sharp one.
    cover = np.clip(0.5 - SHAPES[shape](along, across, radius) * np.float32(0.5), 0, 1)
    texture = TEXTURES[rng.integers(len(TEXTURES))](along / radius, across / radius)
    dark = light * settle(rng.uniform(0.45, 0.7))
    for plane, bright, shaded in zip(planes, light, dark, strict=True):
        plane += cover * (bright + (shaded - bright) * texture - plane)


def _expose(planes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) uint8: the planes times the light of the shot, with sensor noise."""
    gain, noise_sd = settle(rng.uniform(0.7, 1.15)), settle(rng.uniform(3, 6))
    # Three bytes added: near enough normal, standard deviation 128, and exact.
    grains = rng.integers(0, 256, (3, *planes[0].shape), dtype=np.uint8)
    noise = grains[0].astype(np.float32) + grains[1] + grains[2] - np.float32(382.5)
    noise *= noise_sd / 128
    frames = np.empty((*planes[0].shape, 3), dtype=np.uint8)
    for channel, plane in enumerate(planes):
        frames[..., channel] = np.clip(np.rint(plane * gain + noise), 0, 255)
    return frames
