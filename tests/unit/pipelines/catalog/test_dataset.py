"""dataset.py: what is said of an opened data set."""

import os
import shutil
from pathlib import Path

import pytest

from pipelines.catalog.dataset import open_dataset
from pipelines.loading.nvdec import on_cpu
from tests.support.videos import make_video


@pytest.fixture
def root(tmp_path) -> Path:
    """One class, a training and a validation video."""
    for part in ("train", "val"):
        (tmp_path / "data" / part / "x").mkdir(parents=True)
        make_video(tmp_path / "data" / part / "x" / "1.mp4", num_frames=5)
    return tmp_path / "data"


@pytest.mark.parametrize("part", ["train/x", "unlabeled"])
@pytest.mark.parametrize("link", ["symbolic", "hard", "copy"])
def test_a_validation_video_in_another_list_is_named(root, caplog, part, link):
    (root / part).mkdir(exist_ok=True)
    twin = root / part / "twin.mp4"
    {"symbolic": os.symlink, "hard": os.link, "copy": shutil.copy}[link](root / "val/x/1.mp4", twin)
    open_dataset(str(root), labeled="1")
    name = {"train/x": "training", "unlabeled": "unlabeled"}[part]
    said = f"1 validation videos are the same files as {name} videos, such as {root}/val/x/1.mp4 and {twin}: "
    assert (said in caplog.text) == (link != "copy")


def test_lists_are_read_as_the_user_says(root):
    (root / "train.csv").write_text(f"who,where\nx,{root.parent}/a.mp4\n")
    (root / "val.csv").write_text("who,where\nx,val/x/1.mp4\n")
    make_video(root.parent / "a.mp4", num_frames=5)
    options = {"path_column": "where", "label_column": "who", "outside_root": True}
    data = open_dataset(str(root), labeled="1", **options)
    assert data.train.paths == ("../a.mp4",)
    assert len(data.train_pool()) == 1


def test_interlaced_videos_and_stills_are_named(root, caplog):
    make_video(root / "train/x/rows.mp4", num_frames=5, codec_options={"x264-params": "interlaced=1"})
    make_video(root / "val/x/still.mp4", num_frames=1)
    data = open_dataset(str(root), labeled="1")
    assert f"1 of 2 training videos, such as {root}/train/x/rows.mp4, are interlaced, and shown as they" in caplog.text
    assert f"1 of 2 validation videos, such as {root}/val/x/still.mp4, have a single frame" in caplog.text
    assert data.train.facts["interlaced"].tolist() == [False, True]
    pool = data.unlabeled_pool()
    codings = {Path(path).stem: pool.coding_of(k) for k, path in enumerate(pool.paths)}
    assert codings["rows"] == "h264 yuv420p interlaced"
    assert on_cpu(pool).codings == {"h264 yuv420p interlaced"}, "NVDEC counts fields"
    assert set(codings.values()) == {"h264 yuv420p", "h264 yuv420p interlaced"}
