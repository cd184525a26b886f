"""Fixtures that several tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from pipelines.catalog.pool import Pool
from tests.support.pools import pool_like
from tests.support.videos import class_folder, decode_plainly, make_video

os.environ["OMP_NUM_THREADS"] = "1"  # also of the processes that tests start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of them would compile the project anew, for a second
hypothesis.settings.register_profile("untimed", deadline=None)  # a slow machine fails no test
hypothesis.settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Tests run on CPUs whatever the machine has, but for those of `pytest -m gpu`."""
    if "gpu" not in config.option.markexpr.replace("not gpu", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # of the processes that tests start, too


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
    return pool_like(videos, labels=np.arange(len(videos)) % 3, num_frames=num_frames, width=width, height=height)


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory) -> Path:
    """Two classes, two videos each for training and one for validation; not to be changed."""
    return class_folder(tmp_path_factory.mktemp("small"), num_train=2, num_val=1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Two classes, five videos of different lengths each for training and two for validation, one file that is no
    video; not to be changed."""
    root = class_folder(tmp_path_factory.mktemp("folder"), num_train=5, num_val=2, num_frames=40, more_frames=20)
    (root / "train" / "clap" / "notes.mp4").write_text("not a video at all")
    return root


@pytest.fixture
def no_plugins(tmp_path, monkeypatch) -> Iterator[None]:
    """No plug-in is in use before the test, and none of its own, in `tmp_path`, after it."""
    from pipelines.registry import PLUGINS_VARIABLE
    from tests.support.plugins import plugins_undone

    monkeypatch.delenv(PLUGINS_VARIABLE, raising=False)
    with plugins_undone(tmp_path):
        yield
