"""problems.py: what is set aside is in the file as soon as it is known, and stays there."""

import json

import pytest

from cmpl.training.problems import ProblemsFile, say_where_unwritable
from cmpl.training.run_directory import RunDirectory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "problems.json"


def content(path) -> dict:
    return json.loads(path.read_text())


def test_a_problem_is_written_when_it_is_known(path):
    file = ProblemsFile(path)
    file.note({})
    assert not path.exists(), "nothing to say"
    file.note({"a": "missing"})
    assert content(path) == {"a": "missing"}


def test_nothing_new_writes_nothing(path):
    file = ProblemsFile(path)
    file.note({"a": "missing"})
    path.unlink()
    file.note({"a": "missing"}, at_once=True)
    assert not path.exists()


def test_a_write_soon_after_another_waits_and_is_made_up_for(path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("cmpl.training.problems.time.monotonic", lambda: now.append(now[-1] + 1) or now[-1])
    file = ProblemsFile(path)
    file.note({"a": "missing"})  # takes a second, by this clock
    file.note({"b": "missing"})
    assert content(path) == {"a": "missing"}
    now.append(now[-1] + 50)
    file.note({})
    assert content(path) == {"a": "missing", "b": "missing"}
    file.note({"c": "missing"}, at_once=True)
    assert content(path).keys() == {"a", "b", "c"}


def test_what_another_process_added_stays(path):
    file, other = ProblemsFile(path), ProblemsFile(path)
    file.note({"a": "missing"}, at_once=True)
    other.note({"b": "empty file"}, at_once=True)
    file.note({"c": "missing"}, at_once=True)
    assert content(path) == {"a": "missing", "b": "empty file", "c": "missing"}
    assert ProblemsFile(path).content == content(path)


@pytest.mark.parametrize("damaged", ["[]", "{", "5"])
def test_a_damaged_file_is_begun_anew(path, damaged):
    path.write_text(damaged)
    file = ProblemsFile(path)
    file.note({"a": "missing"})
    assert content(path) == {"a": "missing"}


def test_a_file_that_cannot_be_written_is_said_once(tmp_path):
    (tmp_path / "run").write_text("a file in the folder's place")
    said = []
    note = say_where_unwritable(RunDirectory(tmp_path / "run").note_problems, said.append)
    note({"a": "missing"}, at_once=True)
    note({"b": "missing"}, at_once=True)
    assert len(said) == 1
    assert "problems.json: cannot be written (Not a directory)" in said[0]
