"""RandAugment's operations as values, against definitions written out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.plan.operations import IDENTITY
from pipelines.plan.rand_augment import FILL, StrongSpec, compose, draw_strong
from tests.support import reference
from tests.support.operations import GEOMETRIC, PHOTOMETRIC, affine_of, photometric_value


def at(affine, x: float, y: float) -> tuple[float, float]:
    a, b, u, c, d, v = affine
    return a * x + b * y + u, c * x + d * y + v


@pytest.mark.parametrize("op", ["rotate", "shear_x", "shear_y"])
def test_the_center_stays(op):
    assert at(affine_of(op, level=7, sign=-1, size=28), 14, 14) == pytest.approx((14, 14))


def test_rotation_is_30_degrees_at_level_10():
    x, y = at(affine_of("rotate", level=10, sign=1, size=28), 15, 14)
    assert (x - 14, y - 14) == pytest.approx((math.cos(math.pi / 6), math.sin(math.pi / 6)))


def test_translation_is_a_share_of_the_side():
    assert at(affine_of("translate_x", level=5, sign=-1, size=100), 0, 0) == pytest.approx((-15, 0))
    assert at(affine_of("translate_y", level=10, sign=1, size=100), 0, 0) == pytest.approx((0, 30))


@given(st.sampled_from(GEOMETRIC), st.sampled_from(GEOMETRIC), st.floats(1, 10), st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_composition_is_one_map_after_the_other(first, second, level, x):
    a = affine_of(first, level=level, sign=1, size=28)
    b = affine_of(second, level=level / 2, sign=-1, size=28)
    assert at(compose(a, b), x, 3.0) == pytest.approx(at(a, *at(b, x, 3.0)))


@pytest.mark.parametrize(
    ("op", "level", "sign", "value"),
    [
        ("brightness", 10, 1, 1.9),
        ("contrast", 10, -1, 0.1),
        ("color", 0, 1, 1.0),
        ("posterize", 10, 1, 0b11110000),
        ("posterize", 0, 1, 0b11111111),
        ("solarize", 10, 1, 0),
        ("solarize", 5, 1, 128),
    ],
)
def test_what_a_level_means(op, level, sign, value):
    assert photometric_value(op, level=level, sign=sign) == pytest.approx(value)


def test_hand_worked_pixels():
    clip = np.array([10, 100, 200], dtype=np.uint8).reshape(1, 1, 1, 3)
    assert reference.photometric(clip, "brightness", 1.5).ravel().tolist() == [15, 150, 255]
    assert reference.photometric(clip, "solarize", 100).ravel().tolist() == [10, 155, 55]
    assert reference.photometric(clip, "posterize", 240).ravel().tolist() == [0, 96, 192]
    gray = 0.299 * 10 + 0.587 * 100 + 0.114 * 200
    assert reference.photometric(clip, "color", 0.0).ravel().tolist() == [math.floor(gray + 0.5)] * 3
    two = np.array([50, 150], dtype=np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    assert reference.photometric(two, "contrast", 0.5)[..., 0].ravel().tolist() == [75, 125]
    assert reference.photometric(two, "autocontrast", 0)[..., 0].ravel().tolist() == [0, 255]


def test_warp_uncovers_gray_and_moves_pixels():
    clip = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1).repeat(3, axis=3)
    moved = reference.warp(clip, (1.0, 0.0, 1.0, 0.0, 1.0, 0.0))[0, ..., 0]
    assert moved[:, :3].tolist() == clip[0, :, 1:, 0].tolist()
    assert (moved[:, 3] == FILL).all()


def test_draws_cover_all_operations_and_keep_their_order():
    spec, rng = StrongSpec(num_ops=2), np.random.default_rng(0)
    strongs = [draw_strong(rng.random(10).tolist(), spec=spec, size=28) for _ in range(500)]
    assert {op for s in strongs for op, _ in s.photometric} == set(PHOTOMETRIC)
    assert any(s.inverse_affine == IDENTITY for s in strongs)
    assert any(len(s.photometric) == 2 for s in strongs)
    brightness = 1 / 14 * PHOTOMETRIC.index("brightness") + 6.5 / 14  # the middle of its share of [0, 1)
    order = draw_strong([0, 0, 0, brightness, 0.5, 0, 13.5 / 14, 0.5, 0], spec=spec, size=28).photometric
    assert [op for op, _ in order] == ["brightness", "solarize"]


def test_cutout_is_a_square_up_to_half_the_side():
    rng = np.random.default_rng(1)
    spec = StrongSpec(num_ops=0)
    cutouts = [draw_strong(rng.random(3).tolist(), spec=spec, size=28).cutout for _ in range(500)]
    assert max(height for *_, height, _ in cutouts) == 14
    assert min(height for *_, height, _ in cutouts) == 0
    assert draw_strong([0.5, 0.5, 0.5], spec=StrongSpec(num_ops=0, cutout_fraction=0), size=28).cutout[2:] == (0, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ops": ("rotat",)}, "received 'rotat'; did you mean 'rotate'"),
        ({"ops": ()}, "at least one"),
        ({"magnitude": 30.0}, "magnitude: received 30.0; accepted: 1 to 10"),
        ({"cutout_fraction": 1.5}, "cutout_fraction: received 1.5"),
    ],
)
def test_bad_specifications_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        StrongSpec(**fields)
