"""Optical flow on a CPU: pictures that move by known pixels, and what a machine without OpenCV is told."""

import importlib.util

import numpy as np
import pytest

import pipelines.views.flow
from pipelines.errors import InputError
from pipelines.loading.source import TrainSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from pipelines.views.flow import flow_view, optical_flow

SIZE, MARGIN = 56, 24
GEOMETRY = Geometry(
    primary=ClipShape(2, 8), auxiliary=ClipShape(4, 8, pairs=True), crop_size=28, short_side=32,
    short_side_jitter=(32, 40), flow=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A smooth colored texture, larger than a picture."""
    side = SIZE + 2 * MARGIN
    values = np.random.default_rng(3).uniform(0, 255, (side, side, 3))
    for _ in range(4):
        for axis in (0, 1):
            values = (np.roll(values, -1, axis) + values + np.roll(values, 1, axis)) / 3
    low, high = values.min(), values.max()
    return ((values - low) / (high - low) * 255).astype(np.uint8)


def shown(scene: np.ndarray, *, right: int = 0, down: int = 0) -> np.ndarray:
    """The picture (S, S, 3) in which the scene has moved by so many pixels."""
    top, left = MARGIN - down, MARGIN - right
    return scene[top : top + SIZE, left : left + SIZE]


def inner(view: np.ndarray) -> np.ndarray:
    """A view (T, S, S, C) without its edges, where the pictures show what was not there before."""
    return view[:, 10:-10, 10:-10]


@pytest.mark.parametrize(("right", "down"), [(3, -2), (-4, 0), (0, 5), (1, 1), (5, -4)])
def test_a_picture_that_moves_by_known_pixels(scene, right, down):
    view = flow_view(np.stack([shown(scene), shown(scene, right=right, down=down)]))
    assert view.shape == (1, SIZE, SIZE, 3)
    assert view.dtype == np.uint8
    expected = 127.5 + np.array([right, down]) * 127 / 20
    assert np.abs(np.median(inner(view)[..., :2], axis=(0, 1, 2)) - expected).max() <= 1.5
    assert np.quantile(np.abs(inner(view)[..., :2] - expected), 0.9) < 0.4 * 127 / 20  # 0.4 of a pixel
    assert (view[..., 2] == 127).all()


def test_a_still_picture_is_the_middle(scene):
    view = flow_view(np.stack([shown(scene), shown(scene)]))
    assert (view[..., :2] == 128).all()


def test_two_halves_move_apart(scene):
    before, after = shown(scene).copy(), shown(scene).copy()
    after[:, SIZE // 2 :] = shown(scene, right=3)[:, SIZE // 2 :]
    (vectors,) = optical_flow(np.stack([before, after]))
    assert np.abs(vectors[10:-10, 4:20]).mean() < 0.3
    assert np.abs(np.median(vectors[10:-10, 38:-10], axis=(0, 1)) - (3, 0)).max() < 0.3


def test_each_pair_is_seen_alone(scene):
    pairs = [
        np.stack([shown(scene), shown(scene, right=4)]),
        np.stack([shown(scene, down=2), shown(scene, down=-3)]),
    ]
    together = flow_view(np.concatenate(pairs))
    assert np.array_equal(together, np.concatenate([flow_view(pair) for pair in pairs]))
    assert not np.array_equal(together[0], together[1])


def test_movement_beyond_the_limit_is_the_limit(monkeypatch):
    vectors = np.array([[25, -25], [20, -20], [19.9, -19.9]], np.float32).reshape(1, 1, 3, 2)
    monkeypatch.setattr(pipelines.views.flow, "optical_flow", lambda pairs: vectors)
    view = flow_view(np.empty((2, 1, 3, 3), np.uint8))
    assert view[0, 0].tolist() == [[255, 0, 127], [255, 1, 127], [254, 1, 127]]


def source(pool, geometry: Geometry = GEOMETRY) -> TrainSource:
    planner = Planner(pool=pool, seed=0, stream=Stream.UNLABELED, geometry=geometry)
    return TrainSource(planner=planner, media="views", batch_size=2)


def test_flow_lies_behind_the_pairs_that_it_is_of(pool):
    made = source(pool)
    views = made.sample(0).media
    assert tuple(view.shape for view in views) == made.view_shapes
    for primary, pairs, flow in (views[:3], views[3:]):  # weak, strong
        assert [len(primary), len(pairs), len(flow)] == [2, 4, 2]
        assert np.array_equal(flow, flow_view(pairs))


def test_a_machine_without_opencv_is_told_what_to_install(pool, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cv2" else find(name))
    with pytest.raises(InputError, match=r"flow: received true without a GPU.*; accepted: pip install 'cmpl\[flow\]'"):
        source(pool)


def test_crops_too_small_for_flow_are_named(pool):
    tiny = Geometry(
        primary=ClipShape(2, 8), auxiliary=ClipShape(4, 8, pairs=True), crop_size=11, short_side=12,
        short_side_jitter=(12, 14), flow=True,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"flow: received crops of 11 pixels without a GPU; accepted: 12 or more"):
        source(pool, tiny)
