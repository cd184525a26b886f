"""Videos given by files, folders and lists."""

import json
from pathlib import Path

import pytest

from pipelines.datasets.given import given_videos
from pipelines.errors import InputError


def test_all_kinds_come_in_the_order_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("f/b.mp4", "f/deep/a.MKV", "f/notes.md", "one, two.mp4", "no suffix")
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("f/l.csv").write_text('path,class\nb.mp4,x\n"../one, two.mp4",y\n')
    Path("l.txt").write_text("f/b.mp4 3\none, two.mp4\n")
    Path("l.json").write_text(json.dumps([{"data": {"video": "f/b.mp4"}, "annotations": []}]))
    here = str(tmp_path)
    one = [f"{here}/one, two.mp4"]
    assert given_videos(["one, two.mp4"]) == one
    assert given_videos(["no suffix", "gone.mp4"]) == [f"{here}/no suffix", f"{here}/gone.mp4"]
    assert given_videos(["l.txt", "f"]) == [f"{here}/f/b.mp4", *one, f"{here}/f/b.mp4", f"{here}/f/deep/a.MKV"]
    assert given_videos(["./f/l.csv", "l.json"]) == [f"{here}/f/b.mp4", *one, f"{here}/f/b.mp4"]
    monkeypatch.chdir(tmp_path / "f")
    assert given_videos(["."]) == [f"{here}/f/b.mp4", f"{here}/f/deep/a.MKV"]


def test_what_is_nothing_is_said(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such file or folder; accepted: videos, folders, or lists"):
        given_videos([str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match="no videos; accepted"):
        given_videos([str(tmp_path)])
    with pytest.raises(InputError, match=r"gone\.csv: cannot be read"):
        given_videos([str(tmp_path / "gone.csv")])
