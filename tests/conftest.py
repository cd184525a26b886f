"""Fixtures that several tests share."""

import os
from pathlib import Path

import numpy as np
import pytest

from pipelines.catalog.pool import Pool
from tests.support.videos import decode_plainly, make_video

os.environ["OMP_NUM_THREADS"] = "1"  # also of the processes that tests start
SHAPES = ((30, 48, 64), (90, 64, 48), (130, 50, 70), (75, 48, 64), (16, 48, 80), (100, 56, 64))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("CMPL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> list[Path]:
    """Six H.264 videos of different lengths (frames) and sizes; four are longer than a 64-frame clip."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        make_video(folder / f"{k}.mp4", num_frames=f, height=h, width=w, seed=k, gop=24)
        for k, (f, h, w) in enumerate(SHAPES)
    ]


@pytest.fixture(scope="session")
def decoded(videos) -> list[np.ndarray]:
    """Every frame (F, H, W, 3) of each of `videos`."""
    return [decode_plainly(path) for path in videos]


@pytest.fixture(scope="session")
def pool(videos) -> Pool:
    """The pool of `videos`, class k % 3."""
    num_frames, height, width = np.array(SHAPES).T
    return Pool(
        paths=tuple(map(str, videos)),
        labels=np.arange(len(videos)) % 3,
        num_frames=num_frames,
        fps=np.full(len(videos), 25.0),
        width=width,
        height=height,
        exact_seek=np.ones(len(videos), dtype=bool),
        codings=("h264 yuv420p",),
        coding=np.zeros(len(videos), dtype=np.int64),
    )
