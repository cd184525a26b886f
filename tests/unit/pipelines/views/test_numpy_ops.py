"""The fast operations of the CPU against the plain numpy twin."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pipelines.views.numpy_ops
from pipelines.plan.operations import IDENTITY
from pipelines.plan.rand_augment import FILL, compose
from pipelines.views.numpy_ops import brightness, cut_out, photometric, photometrics
from pipelines.views.warp import Warp
from tests.support import reference
from tests.support.operations import PHOTOMETRIC, affine_of, photometric_value

EXACT = tuple(name for name in PHOTOMETRIC if name not in ("color", "sharpness"))
"""Operations that are a curve of values."""


def clip_of(seed: int, *, num_frames: int = 3, size: int = 20) -> np.ndarray:
    """Noise on a slope: all values, and a range that differs from channel to channel."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 150, size)[None, :, None, None] + np.array([0, 30, 60])
    return (slope + rng.integers(0, 40, (num_frames, size, size, 3))).astype(np.uint8)


def warped(clip: np.ndarray, affine) -> np.ndarray:
    planes = np.empty((3, *clip.shape[:3]), dtype=np.uint8)
    warp = Warp(affine, num_frames=len(clip), size=clip.shape[1])
    for k, picture in enumerate(clip):
        warp.put(k, tuple(np.moveaxis(picture, -1, 0)))
    warp.into(planes)
    return np.moveaxis(planes, 0, -1)


def in_planes(clip: np.ndarray) -> np.ndarray:
    """The same clip, in memory plane after plane, as views are made."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(clip, -1, 0)), 0, -1)


@pytest.fixture(params=[1, 600, 1 << 16], autouse=True)
def block_pixels(request, monkeypatch):
    """Clips worked on picture by picture, in blocks of one and a rest, and at once."""
    monkeypatch.setattr(pipelines.views.numpy_ops, "BLOCK_PIXELS", request.param)


@given(
    first=st.sampled_from(["rotate", "shear_x", "shear_y", "translate_x", "translate_y"]),
    second=st.sampled_from(["rotate", "shear_x", "shear_y", "translate_x", "translate_y"]),
    levels=st.tuples(st.floats(1, 10), st.floats(1, 10)),
    signs=st.tuples(st.sampled_from([-1, 1]), st.sampled_from([-1, 1])),
    size=st.sampled_from([1, 2, 15, 24]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_warp_equals_the_twin(first, second, levels, signs, size):
    affine = compose(
        affine_of(first, level=levels[0], sign=signs[0], size=size),
        affine_of(second, level=levels[1], sign=signs[1], size=size),
    )
    clip = clip_of(0, size=size)
    difference = np.abs(warped(clip, affine).astype(int) - reference.warp(clip, affine))
    assert difference.max() <= 2  # weights of eight bits


@pytest.mark.parametrize("size", [64, 72, 128])
def test_any_number_of_frames_is_warped_at_any_size(size):
    """Also where a block of padded pictures would be of fewer frames than one of the clip's: 15 and 16 at 64 pixels."""
    clip = clip_of(0, num_frames=17, size=size)
    affine = affine_of("rotate", level=8, sign=1, size=size)
    each = np.concatenate([warped(picture[None], affine) for picture in clip])
    np.testing.assert_array_equal(warped(clip, affine), each)


def test_the_identity_and_whole_pixels_are_exact():
    clip = clip_of(1)
    np.testing.assert_array_equal(warped(clip, IDENTITY), clip)
    shifted = warped(clip, (1.0, 0.0, 3.0, 0.0, 1.0, -2.0))
    np.testing.assert_array_equal(shifted[:, 2:, :-3], clip[:, :-2, 3:])
    assert (shifted[:, :2] == FILL).all()
    assert (shifted[:, :, -3:] == FILL).all()


def test_what_lies_wholly_outside_is_fill():
    assert (warped(clip_of(2), (1.0, 0.0, 500.0, 0.0, 1.0, 0.0)) == FILL).all()


@pytest.mark.parametrize("layout", [np.array, in_planes])
@pytest.mark.parametrize("op", PHOTOMETRIC)
@pytest.mark.parametrize("level", [1.0, 4.7, 10.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_photometric_operation_equals_the_twin(op, level, sign, layout):
    clip = layout(clip_of(3))
    value = photometric_value(op, level=level, sign=sign)
    expected = reference.photometric(clip, op, value)
    photometric(clip, op, value)
    difference = np.abs(clip.astype(int) - expected)
    assert difference.max() <= (0 if op in EXACT else 1)
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("op", PHOTOMETRIC)
def test_a_constant_clip_is_no_exception(op):
    clip = np.full((2, 8, 8, 3), 77, dtype=np.uint8)
    value = photometric_value(op, level=10.0, sign=1)
    expected = reference.photometric(clip, op, value)
    photometric(clip, op, value)
    np.testing.assert_array_equal(clip, expected)


@pytest.mark.parametrize("first", PHOTOMETRIC)
@pytest.mark.parametrize("second", PHOTOMETRIC)
@pytest.mark.parametrize("size", [20, 15])
def test_operations_in_a_row_equal_one_after_another(first, second, size):
    """Bit for bit, where curves are joined and statistics are those behind a curve too; 15: an odd number of values."""
    drawn = [
        (op, photometric_value(op, level=level, sign=sign))
        for op, level, sign in ((first, 8.0, 1), (second, 6.0, -1), ("equalize", 1.0, 1))
    ]
    one_by_one, at_once = clip_of(5, size=size), in_planes(clip_of(5, size=size))
    for op, value in drawn:
        photometric(one_by_one, op, value)
    np.testing.assert_array_equal(photometrics(at_once, drawn), one_by_one)


def test_an_operation_from_outside_is_given_rows_of_whole_pixels(monkeypatch):
    """It may reshape the clip and work in place."""

    def inverted(clip: np.ndarray, magnitude: float) -> np.ndarray:
        assert clip.flags.c_contiguous
        rows = clip.reshape(-1, 3)
        rows[:] = 255 - rows
        return clip

    monkeypatch.setattr(pipelines.views.numpy_ops, "_function_of", lambda op: inverted if op == "mine" else brightness)
    clip = clip_of(6)
    expected = brightness(255 - brightness(clip.copy(), 0.5), 1.5)
    np.testing.assert_array_equal(photometrics(in_planes(clip), [("x", 0.5), ("mine", 1.0), ("x", 1.5)]), expected)


def test_cutout_equals_the_twin():
    clip = clip_of(4)
    expected = reference.cut_out(clip, (3, 5, 9, 15))
    cut_out(clip, (3, 5, 9, 15))
    np.testing.assert_array_equal(clip, expected)
