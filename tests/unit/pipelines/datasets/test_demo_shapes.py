"""The parts of the demo's pictures: smooth noise, colors and shapes."""

import colorsys

import numpy as np
import pytest

from pipelines.datasets import demo_shapes


def test_bilinear_matches_plain_loop():
    rng = np.random.default_rng(0)
    lattice, row, column = rng.random((4, 4)), rng.uniform(-9, 9, (2, 3)), rng.uniform(-9, 9, (2, 5))
    got = demo_shapes.bilinear(lattice, row, column)
    for t, i, j in np.ndindex(2, 3, 5):
        y, x = int(np.floor(row[t, i])), int(np.floor(column[t, j]))
        fy, fx = row[t, i] - y, column[t, j] - x
        want = sum(
            lattice[(y + a) % 4, (x + b) % 4] * (fy if a else 1 - fy) * (fx if b else 1 - fx)
            for a in (0, 1)
            for b in (0, 1)
        )
        assert got[t, i, j] == pytest.approx(want)


@pytest.mark.parametrize("hue", [-0.05, 0, 0.1, 0.25, 0.5, 0.77, 1.04])
def test_rgb_matches_colorsys(hue):
    want = np.array(colorsys.hsv_to_rgb(hue % 1, 0.7, 0.9)) * 255
    np.testing.assert_allclose(demo_shapes.rgb(hue, 0.7, 0.9), want, atol=1e-3)


@pytest.mark.parametrize("shape", demo_shapes.SHAPES)
def test_shapes_have_an_inside_within_their_radius(shape):
    y, x = np.mgrid[-20:21, -20:21].astype(np.float32)
    inside = shape(x, y, np.float32(10)) < 0
    assert 60 < inside.sum() < 330  # a disk of radius 10 has 314 pixels
    assert np.hypot(x, y)[inside].max() < 13
