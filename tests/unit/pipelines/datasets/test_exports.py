"""exports.py: what labeling programs export is a list."""

import json

import pytest

from pipelines.datasets.annotations import ListOptions
from pipelines.datasets.exports import read_list
from pipelines.datasets.folder import read_folder
from pipelines.errors import InputError


def task(path: str, *annotations: list[str], cancelled: bool = False) -> dict:
    """A task as Label Studio's JSON has it."""
    made = [
        {"result": [{"type": "choices", "value": {"choices": choices}}], "was_cancelled": cancelled}
        for choices in annotations
    ]
    return {"id": 7, "data": {"video": path}, "annotations": made}


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><name>t</name></task></meta>
  <image id="0" name="clips/a, 1.mp4" width="64" height="48"><tag label="walk" source="manual"></tag></image>
  <image id="1" name="clips/b.mp4" width="64" height="48"><tag label="run" source="manual"></tag></image>
</annotations>
"""
LISTS = {
    "json": json.dumps(
        [task("/data/local-files/?d=clips%2Fa, 1.mp4", ["walk"], ["walk"]), task("/data/upload/1/b.mp4", ["run"])]
    ),
    "min.json": json.dumps([{"video": "clips/a, 1.mp4", "choice": "walk"}, {"video": "clips/b.mp4", "Choice": "run"}]),
    "xml": CVAT,
}


@pytest.mark.parametrize("name", LISTS)
def test_an_export_is_a_list(tmp_path, name):
    (tmp_path / f"train.{name.rpartition('.')[2]}").write_text(LISTS[name])
    (tmp_path / "val.csv").write_text("v.mp4,walk\n")
    annotations = read_folder(tmp_path)
    assert annotations.classes == ("run", "walk")
    assert [path.removeprefix("clips/") for path in annotations.train.paths] == ["a, 1.mp4", "b.mp4"]
    assert annotations.train.labels.tolist() == [1, 0]


def test_a_task_without_a_class_is_unlabeled(tmp_path):
    tasks = [task("a.mp4"), task("b.mp4", ["walk"], cancelled=True), {"data": {"movie": "c.mp4"}}]
    (tmp_path / "unlabeled.json").write_text(json.dumps(tasks[:2]))
    assert [v.label for v in read_list(tmp_path / "unlabeled.json", ListOptions())] == [None, None]
    (tmp_path / "other.json").write_text(json.dumps(tasks[2:]))
    assert read_list(tmp_path / "other.json", ListOptions(path_column="Movie"))[0].path == "c.mp4"


BOMB = '<!DOCTYPE x [<!ENTITY a "xxxxxxxxxx">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.json",
            json.dumps([task("a.mp4", ["walk"], ["run"])]),
            "entry 1: received several classes, run, walk; acce",
        ),
        ("a.json", json.dumps([task("../a.mp4", ["walk"])]), "entry 1: received the path '../a.mp4'; accepted: a path"),
        ("a.json", "{}", "cannot be read .no list of tasks.; accepted: Label Studio's JSON"),
        ("a.json", "[5]", "cannot be read .task 1 is no object.; accepted: Label Studio's JSON"),
        ("a.json", '[{"a": 1}]', "cannot be read .task 1 names no video; --path-column may.; accepted: Label Studio's"),
        ("a.json", "[" * 100_000, "cannot be read .*; accepted: Label Studio's JSON"),
        ("a.json", "no json", "cannot be read .*; accepted: Label Studio's JSON"),
        ("a.xml", "<annotations>", "cannot be read .*; accepted: CVAT's XML"),
        ("a.xml", f"{BOMB}]><annotations>&j;</annotations>", "cannot be read .*; accepted: CVAT's XML"),
        (
            "a.xml",
            CVAT.replace("</image>", '<tag label="sit"/></image>'),
            "entry 1: received several classes, sit, walk",
        ),
    ],
)
def test_refuses_what_is_no_export(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}.* {message}"):
        read_list(tmp_path / name, ListOptions())
