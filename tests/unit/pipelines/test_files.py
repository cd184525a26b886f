"""Files written whole or not at all."""

import os

import pytest

from pipelines.errors import InputError
from pipelines.files import written_whole


def test_the_file_is_there_after_the_block_and_no_draft_is_left(tmp_path):
    target = tmp_path / "report.json"
    with written_whole(target) as draft:
        draft.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["report.json"]


def test_an_error_leaves_the_old_file(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")

    def write(number: int) -> None:
        with written_whole(target) as draft:
            draft.write_text("half")
            draft.write_text(str(1 / number))

    with pytest.raises(ZeroDivisionError):
        write(0)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_folder_that_is_not_there_is_the_user_s_error_where_a_field_is_named(tmp_path):
    target = tmp_path / "nowhere" / "report.json"
    match = r"--out: cannot write .*report\.json \(No such file"
    with pytest.raises(InputError, match=match), written_whole(target, field="--out") as draft:
        draft.write_text("new")
    with pytest.raises(FileNotFoundError), written_whole(target) as draft:
        draft.write_text("new")


def test_a_file_in_the_place_of_the_folder_is_the_user_s_error_too(tmp_path):
    (tmp_path / "taken").write_text("a file")
    target = tmp_path / "taken" / "report.json"
    match = r"--out: cannot write .*report\.json \(Not a directory\); accepted: a path that can be written"
    with pytest.raises(InputError, match=match), written_whole(target, field="--out") as draft:
        draft.write_text("new")


def test_other_errors_of_the_block_keep_their_kind(tmp_path):
    with pytest.raises(ValueError, match="mine"), written_whole(tmp_path / "a", field="--out"):
        raise ValueError("mine")
