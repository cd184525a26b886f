"""printable.py: names from outside never steer a terminal."""

import logging
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from pipelines.printable import printable
from tests.support.videos import make_video

HOSTILE = "\x1b]0;OWNED\x07\x1b[2J\x1b[31mclap"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.mp4", "a.mp4"),
        ("café 手 👋.mp4", "café 手 👋.mp4"),
        ("two\nlines\tx", "two\nlines\tx"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\x9b31m", "a\\rb\\x9b31m"),
        ("caf\udce9", "caf\\xe9"),
        ("gpj.\u202e4pm", "gpj.\\u202e4pm"),
    ],
)
def test_what_does_not_print_is_written_out(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_no_text_steers_a_terminal(text):
    assert printable(printable(text).replace("\n", "").replace("\t", "")).isprintable()
    printable(text).encode()


@pytest.fixture
def hostile(tmp_path) -> Path:
    """A data set whose class and file names hold escapes, one file of which is broken."""
    root = tmp_path / "data"
    for name in (HOSTILE, "wave"):
        for part in ("train", "val"):
            (root / part / name).mkdir(parents=True)
            make_video(root / part / name / "caf\udce9.mp4", num_frames=5)
    (root / "train" / "wave" / "bad\x1b[5m.mp4").write_text("no video")
    (root / "train" / "wave" / "note\x1b[5m.txt").touch()
    return root


@pytest.mark.parametrize("command", ["prepare", "split", "unknown class"])
def test_names_reach_the_terminal_as_escapes(hostile, tmp_path, command, capfd):
    out = str(tmp_path / ("new" if command == "prepare" else "list.csv"))
    arguments = [command, "--dataset", str(hostile), "--out", out]
    if command == "split":
        arguments += ["--labeled", "1"]
    if command == "unknown class":
        (hostile / "train" / HOSTILE).rename(hostile / "train" / "clap")
        arguments[0] = "split"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == (2 if command == "unknown class" else 0), result.output
    logging.lastResort.emit(logging.makeLogRecord({"msg": "%s: passed over", "args": (HOSTILE,)}))
    shown = result.stdout + result.stderr + capfd.readouterr().err
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\\x1b" in shown


def test_a_word_that_is_no_name_is_cut_short():
    assert printable(f"a {'x' * 200_000} b") == f"a {'x' * 100}... (200000 characters) b"
    assert printable("/" + "x" * 4000) == "/" + "x" * 4000
