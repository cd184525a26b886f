"""Which videos NVDEC is not given, and what is said of them."""

import numpy as np
import pytest

from pipelines.catalog.pool import Pool
from pipelines.loading.nvdec import OnCpu, after_refusal, on_cpu
from tests.support.pools import pool_like

PATHS = [f"/{k}.mp4" for k in range(4)]


@pytest.mark.parametrize(
    ("coding", "taken"),
    [
        ("h264 yuv420p", True), ("h264 yuvj420p", True), ("h264 yuv444p", False), ("h264 yuv420p10le", False),
        ("hevc yuv420p10le", True), ("mpeg4 yuv420p", True), ("av1 yuv420p", False),
        ("vp9 yuv420p", False),  # DALI counts its hidden frames
    ],
)  # fmt: skip
def test_codings(coding, taken):
    pool = pool_like(PATHS, width=340, height=256, codings=(coding,))
    assert [on_cpu(pool).must(pool, k) for k in range(4)] == [not taken] * 4


def test_videos_whose_packets_and_frames_do_not_pair_up_are_left_to_the_workers():
    pool = pool_like(PATHS, width=340, height=256, exact_seek=[True, False, True, False])
    known = on_cpu(pool)
    assert known == OnCpu(videos=frozenset({1, 3}))
    assert known.lines(pool) == [
        "2 of 4 videos (50.0 %) are decoded on the CPU: their packets do not lead to their frames"
    ]


@pytest.mark.parametrize(
    ("codec", "sizes", "left_out"),
    [
        ("h264", [(340, 256), (40, 40), (48, 16), (4098, 2160)], {1, 3}),
        ("hevc", [(128, 256), (144, 144), (4096, 2160), (8194, 4320)], {0, 3}),
        ("mpeg4", [(320, 240), (1024, 576), (1920, 1080), (48, 14)], {2, 3}),
    ],
)
def test_sizes_that_nvdec_does_not_take(codec, sizes, left_out):
    width, height = zip(*sizes, strict=True)
    pool = pool_like(PATHS, width=width, height=height, codings=(f"{codec} yuv420p",))
    known = on_cpu(pool)
    assert known.videos == left_out
    assert known.codings == frozenset()
    for video in left_out:
        said = f"NVDEC does not take {width[video]}x{height[video]} pixels"
        assert any(said in line for line in known.lines(pool))


def test_the_software_decoder_takes_what_nvdec_does_not():
    pool = pool_like(PATHS, width=40, height=40, codings=("vp9 yuv420p", "h264 yuv420p"), coding=[0, 0, 1, 1])
    assert [on_cpu(pool, decoder="cpu").must(pool, k) for k in range(4)] == [False, False, True, True]


def test_sizes_are_those_that_are_coded():
    """A video that is turned by its flag: NVDEC sees it lying."""
    upright = pool_like(PATHS, width=576, height=1200, codings=("mpeg4 yuv420p",))
    lying = Pool(**vars(upright) | {"stored": np.array([[1000, 576, 1, 0]] * 4)})
    assert on_cpu(upright).videos == {0, 1, 2, 3}
    assert on_cpu(lying).videos == frozenset()


def test_a_refusal_forgets_none_of_those_before():
    """A pipeline is built anew after each: what was left to the workers stays with them."""
    pool = pool_like(PATHS, width=340, height=256, codings=("a x", "b x", "c x"), coding=[0, 0, 1, 2])
    before = OnCpu(codings=frozenset({"c x"}), videos=frozenset({0}))
    known = after_refusal(before, pool, refused={2: "broken"}, tried={1, 2})
    assert known == OnCpu(codings=frozenset({"c x"}), videos=frozenset({0, 2}))
    assert after_refusal(known, pool, refused={1: "broken"}, tried={1}).videos == {0, 1, 2}
