"""Videos that are damaged inside: what a position shows depends on the file alone, and the file is named."""

import functools
from pathlib import Path

import numpy as np
import pytest

from pipelines.loading.source import EvaluationSource, TrainSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from pipelines.problems import SHOWN_DAMAGED, add_problems, set_aside
from tests.support.pools import pool_like
from tests.support.videos import decode_plainly, make_video, place_of, with_gaps

NUM_FRAMES, DAMAGED_FRAME = 80, 45
GAPS = functools.partial(with_gaps, frame=DAMAGED_FRAME)
GEOMETRY = Geometry(primary=ClipShape(4, 2), auxiliary=None, crop_size=24, short_side=32, short_side_jitter=(32, 36))


def with_a_hole(path: Path) -> Path:
    """Zeroes a frame's packet, which then is an error; frames of other GOPs decode."""
    begin, size = place_of(path, DAMAGED_FRAME)
    content = bytearray(path.read_bytes())
    content[begin : begin + size] = bytes(size)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("plain")
    no_b = {"x264-params": "bframes=0:scenecut=0"}
    return [make_video(folder / f"{k}.mp4", num_frames=NUM_FRAMES, seed=k, codec_options=no_b) for k in range(3)]


def source_of(paths, media: str) -> TrainSource:
    pool = pool_like(paths, labels=np.zeros(len(paths)), num_frames=[NUM_FRAMES] * 3, width=[64] * 3, height=[48] * 3)
    planner = Planner(pool=pool, seed=0, stream=Stream.LABELED, geometry=GEOMETRY)
    return TrainSource(planner=planner, media=media, batch_size=4)


@pytest.fixture
def damaged(plain, tmp_path, request) -> list[Path]:
    """The plain videos, the first of them damaged as the test asks."""
    path = tmp_path / "damaged.mp4"
    path.write_bytes(plain[0].read_bytes())
    return [request.param(path), *plain[1:]]


@pytest.mark.parametrize("media", ["views", "frames"])
@pytest.mark.parametrize("damaged", [GAPS], indirect=True)
def test_a_video_with_filled_gaps_is_shown_and_named(damaged, plain, media):
    """Named are the clips whose frames the decoder reached by way of the damaged one: those behind it in its GOP."""
    source, of_plain = source_of(damaged, media), source_of(plain, media)
    named = set()
    for position in range(40):
        plan, sample = source.planner.plan(position), source.sample(position)
        first, last = plan.frames.min(), plan.frames.max()
        reaches = plan.video == 0 and last >= DAMAGED_FRAME and first < 50
        assert sample.ids.video == plan.video, "nothing takes its place"
        assert sample.problems == (((str(damaged[0]), SHOWN_DAMAGED),) if reaches else ())
        if not reaches:
            for one, other in zip(sample.media, of_plain.sample(position).media, strict=True):
                np.testing.assert_array_equal(one, other)
        named.add((plan.video == 0, reaches))
    assert named == {(True, True), (True, False), (False, False)}
    assert source.broken == {}


@pytest.mark.parametrize("media", ["views", "frames"])
@pytest.mark.parametrize("damaged", [GAPS, with_a_hole], indirect=True)
def test_a_sample_does_not_depend_on_those_before(damaged, media):
    source = source_of(damaged, media)
    outcomes = set()
    for position in range(40):
        after_others, alone = source.sample(position), source_of(damaged, media).sample(position)
        assert after_others.ids == alone.ids
        assert after_others.problems == alone.problems
        for one, other in zip(after_others.media, alone.media, strict=True):
            np.testing.assert_array_equal(one, other)
        if source.planner.plan(position).video == 0:
            outcomes.add(bool(alone.problems))
    assert outcomes == {True, False}, "some clips of the damaged video are whole, others are not"


@pytest.mark.parametrize("damaged", [GAPS], indirect=True)
def test_an_evaluation_counts_a_video_with_filled_gaps_and_names_it(damaged):
    pool = source_of(damaged, "views").pool
    source = EvaluationSource(
        pool=pool,
        shapes=(ClipShape(8, 4),),
        short_videos="loop",
        num_clips=2,
        num_crops=1,
        crop_size=24,
        media="views",
        batch_size=3,
    )
    samples = list(source.samples(0))
    assert [sample.ids.stands_in for sample in samples] == [0, 0, 0]
    assert [sample.problems for sample in samples] == [((str(damaged[0]), SHOWN_DAMAGED),), (), ()]


@pytest.mark.parametrize("damaged", [GAPS], indirect=True)
def test_the_damage_is_one_that_the_decoder_hides(damaged, plain):
    """Else the tests above would be of something else."""
    hidden, intact = decode_plainly(damaged[0]), decode_plainly(plain[0])
    assert hidden.shape == intact.shape
    differs = np.flatnonzero((hidden != intact).any(axis=(1, 2, 3)))
    assert differs.min() == DAMAGED_FRAME
    assert differs.max() < 50, "the next keyframe mends it"


def test_being_set_aside_goes_over_being_shown():
    known: dict[str, str] = {}
    add_problems(known, [("a", SHOWN_DAMAGED), ("b", "42 frames readable"), ("a", "7 frames readable")])
    add_problems(known, [("a", SHOWN_DAMAGED), ("b", SHOWN_DAMAGED), ("a", "9 frames readable"), ("c", SHOWN_DAMAGED)])
    assert known == {"a": "7 frames readable", "b": "42 frames readable", "c": SHOWN_DAMAGED}
    assert set_aside(known).keys() == {"a", "b"}
