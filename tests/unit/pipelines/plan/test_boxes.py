"""boxes.py: where a box of the upright picture lies in the stored one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalog.pool import Picture
from pipelines.plan.boxes import Box, StoredBox, mirrored, stored_box, weak_box


def shown(picture: np.ndarray, box: Box) -> np.ndarray:
    """The part of a picture (H, W), mirrored where left > right."""
    top, left, bottom, right = box
    part = picture[top:bottom, min(left, right) : max(left, right)]
    return part[:, ::-1] if left > right else part


def read(stored: np.ndarray, box: StoredBox) -> np.ndarray:
    """The part of a stored picture (H, W), as a `StoredBox` says."""
    top, left, bottom, right, transposed = box
    part = stored[min(top, bottom) : max(top, bottom), min(left, right) : max(left, right)]
    part = part[::-1] if top > bottom else part
    part = part[:, ::-1] if left > right else part
    return part.T if transposed else part


@given(st.data(), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.booleans(), st.booleans())
def test_the_part_read_is_the_part_shown(data, stored_height, stored_width, turns, is_stored_mirrored, is_mirrored):
    stored = np.arange(stored_height * stored_width).reshape(stored_height, stored_width)
    upright = np.rot90(np.fliplr(stored) if is_stored_mirrored else stored, turns)
    height, width = upright.shape
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = (top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width)))
    box = mirrored(box) if is_mirrored else box
    picture = Picture(width, height, stored_width, stored_height, turns, int(is_stored_mirrored))
    np.testing.assert_array_equal(read(stored, stored_box(box, picture)), shown(upright, box))


@pytest.mark.parametrize("is_stored_mirrored", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_of_pixels_twice_as_wide_half_as_many_are_read(turns, is_stored_mirrored):
    stored = np.arange(6 * 4).reshape(6, 4)
    square = stored.repeat(2, axis=1)
    upright = np.rot90(np.fliplr(square) if is_stored_mirrored else square, turns)
    height, width = upright.shape
    picture = Picture(width, height, 4, 6, turns, int(is_stored_mirrored))
    for box in ((0, 0, 2, 2), (2, 4, 6, 6), mirrored((0, 2, 4, 4))):
        part = read(stored, stored_box(box, picture))
        np.testing.assert_array_equal(part.repeat(2, axis=1 - turns % 2), shown(upright, box))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 240), st.integers(0, 3))
def test_at_least_one_pixel_is_read_and_none_outside(stored_width, stored_height, seen_width, turns):
    sides = (seen_width, stored_height)
    picture = Picture(*(sides[::-1] if turns % 2 else sides), stored_width, stored_height, turns)
    box = stored_box(weak_box(width=picture.width, height=picture.height, short_side=256, crop_size=224), picture)
    for first, last, most in ((box.top, box.bottom, stored_height), (box.left, box.right, stored_width)):
        assert first != last
        assert 0 <= min(first, last) < max(first, last) <= most


def test_a_picture_stored_as_it_is_seen_keeps_its_boxes():
    box = (3, 40, 20, 10)
    assert stored_box(box, Picture.plain(64, 48)) == (*box, 0)
