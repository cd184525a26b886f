"""The plan: a pure function of (seed, stream, epoch, index), and what it promises of clips and boxes."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.catalog.pool import Pool
from pipelines.errors import InputError
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream, batch_positions, epoch_order, uniforms
from tests.golden.make_plans import GOLDEN_PLANS, described, golden_planner
from tests.support.pools import pool_like

SMALL = Geometry(crop_size=28, short_side=32, short_side_jitter=(32, 40), max_offset_seconds=2.0)


def pool_of(num_videos: int, *, num_frames: int = 300, fps: float = 30.0) -> Pool:
    """A pool of files that need not exist."""
    return pool_like([f"/{k}.mp4" for k in range(num_videos)], num_frames=num_frames, fps=fps, width=340, height=256)


def planner(pool: Pool, *, seed: int = 0, stream: Stream = Stream.UNLABELED, geometry: Geometry = SMALL) -> Planner:
    return Planner(pool=pool, seed=seed, stream=stream, geometry=geometry)


def test_plans_are_what_they_were():
    assert described(golden_planner()) == json.loads(Path(GOLDEN_PLANS).read_text())


def test_a_plan_depends_on_position_alone():
    make = planner(pool_of(50))
    backwards = {position: described_views(make, position) for position in range(120, -1, -7)}
    fresh = pickle.loads(pickle.dumps(planner(pool_of(50))))
    assert all(described_views(fresh, position) == views for position, views in backwards.items())


def described_views(make: Planner, position: int) -> tuple:
    plan = make.plan(position)
    return plan.video, tuple((tuple(v.frames), v.box, v.strong) for v in plan.views)


@pytest.mark.parametrize("change", [{"seed": 1}, {"stream": Stream.LABELED}])
def test_seed_and_stream_change_plans(change):
    base, other = planner(pool_of(50)), planner(pool_of(50), **change)
    same = [described_views(base, p) == described_views(other, p) for p in range(50)]
    assert sum(same) == 0


@given(num_videos=st.integers(1, 60), epoch=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_an_epoch_visits_every_video_once(num_videos, epoch):
    make = planner(pool_of(num_videos))
    visited = [make.plan(epoch * num_videos + index).video for index in range(num_videos)]
    assert sorted(visited) == list(range(num_videos))


def test_epochs_differ_in_order():
    assert not np.array_equal(epoch_order(0, Stream.LABELED, 0, 100), epoch_order(0, Stream.LABELED, 1, 100))


@given(num_frames=st.integers(1, 400), fps=st.floats(5, 60), position=st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_frames_lie_in_the_video_and_starts_within_t_s(num_frames, fps, position):
    make = planner(pool_of(7, num_frames=num_frames, fps=fps))
    plan = make.plan(position)
    for view, shape in zip(plan.views, SMALL.shapes, strict=True):
        assert view.frames.shape == (shape.num_frames,)
        assert view.frames.min() >= 0
        assert view.frames.max() < num_frames
    if num_frames >= 64:
        assert (np.diff(plan.primary.frames) == 8).all()
        assert (np.diff(plan.auxiliary.frames) == 4).all()
        distance = abs(int(plan.auxiliary.frames[0]) - int(plan.primary.frames[0]))
        assert distance <= round(SMALL.max_offset_seconds * fps)


def test_starts_are_spread_over_the_whole_video():
    make = planner(pool_of(1, num_frames=100))
    starts = {int(make.plan(p).primary.frames[0]) for p in range(600)}
    assert starts == set(range(100 - 64 + 1))


def test_starts_can_be_kept_to_multiples():
    geometry = Geometry(
        crop_size=28, short_side=32, short_side_jitter=(32, 40), max_offset_seconds=2.0, start_multiple=4
    )
    make, free = planner(pool_of(9), geometry=geometry), planner(pool_of(9))
    for position in range(60):
        views, unbound = make.plan(position).views, free.plan(position).views
        assert all(view.frames[0] % 4 == 0 for view in views)
        assert abs(int(views[0].frames[0]) - int(unbound[0].frames[0])) < 4


def test_no_offset_gives_both_networks_the_same_start():
    geometry = Geometry(crop_size=28, short_side=32, short_side_jitter=(32, 40), max_offset_seconds=0)
    plans = [planner(pool_of(9), geometry=geometry).plan(p) for p in range(30)]
    assert all(plan.primary.frames[0] == plan.auxiliary.frames[0] for plan in plans)


def test_short_videos_loop_or_stand_still():
    shape = ClipShape(8, 8)
    assert shape.frames(0, num_video_frames=20).tolist() == [0, 8, 16, 4, 12, 0, 8, 16]
    still = shape.frames(0, num_video_frames=20, short_videos="repeat-last")
    assert still.tolist() == [0, 8, 16, 19, 19, 19, 19, 19]


@given(seed=st.integers(0, 10), position=st.integers(0, 500))
@settings(max_examples=60, deadline=None)
def test_boxes_lie_in_the_frame(seed, position):
    plan = planner(pool_of(9), seed=seed).plan(position)
    for view in plan.views:
        top, left, bottom, right = view.box
        assert all(isinstance(edge, int) for edge in view.box)
        assert 0 <= top < bottom <= 256
        assert 0 <= min(left, right) < max(left, right) <= 340
        side = bottom - top
        assert side == abs(right - left)
        assert round(256 * 28 / 40) <= side <= round(256 * 28 / 32)
        y, x, height, width = view.strong.cutout
        assert 0 <= y <= y + height <= 28
        assert 0 <= x <= x + width <= 28


def test_flips_are_half_and_can_be_forbidden():
    def share(make: Planner) -> float:
        boxes = [make.plan(p).primary.box for p in range(400)]
        return float(np.mean([left > right for _, left, _, right in boxes]))

    assert share(planner(pool_of(9))) == pytest.approx(0.5, abs=0.08)
    still = Planner(pool=pool_of(9), seed=0, stream=Stream.UNLABELED, geometry=SMALL, horizontal_flip=False)
    assert share(still) == 0


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_the_global_order_does_not_depend_on_the_ranks(num_ranks):
    batch_size = 8 // num_ranks
    order = [
        position
        for micro_step in range(5)
        for rank in range(num_ranks)
        for position in batch_positions(micro_step, batch_size=batch_size, rank=rank, num_ranks=num_ranks)
    ]
    assert order == list(range(40))


def test_replacements_are_other_draws_of_the_same_position():
    make = planner(pool_of(1000))
    videos = {make.plan(5, attempt=attempt).video for attempt in range(20)}
    assert len(videos) > 15
    assert make.plan(5, attempt=3).video == make.plan(5, attempt=3).video


def test_uniforms_are_uniform_and_apart():
    draws = np.stack([uniforms(0, Stream.UNLABELED, 0, index) for index in range(2000)])
    assert draws.mean(axis=0) == pytest.approx(0.5, abs=0.03)
    correlation = np.corrcoef(draws.T) - np.eye(draws.shape[1])
    assert np.abs(correlation).max() < 0.12


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_size": 300}, "short_side_jitter: received"),
        ({"max_offset_seconds": -1.0}, "max_offset_seconds: received -1.0"),
        ({"short_videos": "black"}, "short_videos: received 'black'; accepted: loop"),
    ],
)
def test_bad_geometry_is_named(fields, message):
    with pytest.raises(InputError, match=message):
        Geometry(**fields)


@pytest.mark.parametrize("text", ["8", "8x", "x8", "8 x 8", "8x8x8", "0x8"])
def test_bad_clip_shapes_are_refused(text):
    with pytest.raises(InputError, match="clip"):
        ClipShape.parse(text)
