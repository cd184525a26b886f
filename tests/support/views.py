"""Small loaders for the parity of views, and how far a view may be from that of its plain twin."""

import numpy as np
import torch

from pipelines.loading.engine import Engine
from pipelines.loading.loader import SemiLoader
from pipelines.plan.boxes import Box
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from pipelines.plan.rand_augment import StrongSpec

GEOMETRY = Geometry(
    primary=ClipShape(4, 16),
    auxiliary=ClipShape(8, 8),
    crop_size=28,
    short_side=32,
    short_side_jitter=(32, 40),
    max_offset_seconds=1.0,
)
RESIZE_TOLERANCE = {"frames": 1, "views": 2}  # of 255: fixed-point filter weights against float64 ...
EDGE_TOLERANCE = {"frames": 1, "views": 12}  # ... and how FFmpeg's scaler ends them at an edge


def planners(pool, *, geometry=GEOMETRY, strong=None, seed=0) -> dict[str, Planner]:
    return {
        name: Planner(pool=pool, seed=seed, stream=stream, geometry=geometry, strong=strong or StrongSpec())
        for name, stream in (("labeled", Stream.LABELED), ("unlabeled", Stream.UNLABELED))
    }


def loader(pool, *, engine=None, geometry=GEOMETRY, strong=None, **more) -> SemiLoader:
    return SemiLoader(
        **planners(pool, geometry=geometry, strong=strong),
        num_labeled=2,
        num_unlabeled=6,
        engine=engine or Engine(),
        **more,
    )


def pixels(clip: torch.Tensor) -> np.ndarray:
    """(3, T, S, S) as (T, S, S, 3) integers."""
    return clip.permute(1, 2, 3, 0).numpy().astype(int)


def seen_by(engine: Engine, video: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
    """What the scaler is given of a video's pictures. Workers crop before they scale, so that pixels beside
    the box have no share in its edge; DALI's resize sees them."""
    if engine.media != "views":
        return video, box
    top, left, bottom, right = box
    inside = (0, max(left - right, 0), bottom - top, max(right - left, 0))
    return video[:, top:bottom, min(left, right) : max(left, right)], inside


def assert_same_view(clip: torch.Tensor, expected: np.ndarray, engine: Engine) -> None:
    difference = np.abs(pixels(clip) - expected)
    assert difference.max() <= EDGE_TOLERANCE[engine.media]
    assert difference[:, 1:-1, 1:-1].max() <= RESIZE_TOLERANCE[engine.media]
