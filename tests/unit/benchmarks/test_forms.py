"""The benchmarks of prepared forms and of growth in small: all rows are there, and say what was made."""

import json

import pytest

from benchmarks.loaders import forms, growth
from benchmarks.loaders.videos import INTRA, ORIGINAL, make_videos
from pipelines.catalog.manifest import open_manifest
from pipelines.video.encoding import Form


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return make_videos(
        tmp_path_factory.mktemp("files"), num_videos=2, num_frames=90, size=(68, 48), kinds=(ORIGINAL, INTRA)
    )


def test_every_form_is_measured(videos, monkeypatch):
    monkeypatch.setattr(forms, "SWEEP", {Form.INTRA: (20, 45), Form.ALIGNED: (20,), Form.GOP: (20,)})
    said = []
    result = forms.run({forms.OWN: videos[ORIGINAL]}, num_samples=1, num_rounds=1, note=said.append)
    rows = {row["arm"]: row for row in result["sets"][forms.OWN]["rows"]}
    assert list(rows) == ["original", "intra crf 20", "intra crf 45", "aligned crf 20", "gop crf 20"]
    assert all(row["decode_cpu"]["median_seconds"] < row["whole_cpu"]["median_seconds"] for row in rows.values())
    assert rows["intra crf 20"]["size_ratio"] > rows["gop crf 20"]["size_ratio"]
    assert rows["intra crf 20"]["psnr_db"]["lowest"] > 40 > rows["intra crf 45"]["psnr_db"]["highest"]
    assert result["intra_crf_of_40_db"] == 20
    assert set(result["kinetics_hours_of_one_core"]) == set(rows) - {"original"}
    json.dumps(result)


def test_many_videos_are_a_few_files_probed_before(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "FOLDER_VIDEOS", 3)
    monkeypatch.setattr(growth, "NUM_TIMED", 2)
    growth.make_many(tmp_path / "many", videos[INTRA], num_videos=7, cache_dir=tmp_path / "cache")
    paths = growth.paths_of(7)
    assert paths[-1] == "002/000006.mp4"
    monkeypatch.setattr("pipelines.catalog.manifest.probe", None)  # it would fail
    manifest = open_manifest(tmp_path / "many", paths, [-1] * 7, cache_dir=tmp_path / "cache")
    assert manifest.num_frames.tolist() == [90] * 7
    row = growth.measure(tmp_path / "many", num_videos=7, num_workers=1, cache_dir=tmp_path / "cache")
    assert row["first_batch_seconds"] > row["open_seconds"] > 0
    assert row["worker_memory_mib"] > 10
    assert row["cut_ms"] > 0
