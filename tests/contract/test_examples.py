"""Each script of examples/ does, on small videos, what its first lines say."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import SMALL

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MOST_LINES = 40

TORCHVISION = """
from torch import nn


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 6, 3, stride=4)
        self.fc = nn.Linear(6, 400)

    def forward(self, clips):
        return self.fc(self.conv(clips).mean(dim=(2, 3, 4)))


def r2plus1d_18():
    return Trunk()
"""
"""Stands in for torchvision.models.video, which a test shall not need: a network with a last layer called fc."""


def run(words: list[str], *, cwd: Path, python_path: list[Path]) -> str:
    """Runs a command of Python in a folder; its standard output."""
    paths = os.pathsep.join(map(str, [ROOT, *python_path]))
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=cwd, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_of(example: Path) -> list[str]:
    """The words of the `cmpl train` line at the head of an example, for the root of the project."""
    line = re.search(r"^Run it: `cmpl (train .*)`$", example.read_text(), re.M)
    assert line is not None, f"{example.name} shows no command"
    return shlex.split(line[1])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short(example):
    assert len(example.read_text().splitlines()) < MOST_LINES


def test_there_are_three_at_most():
    assert 1 <= len(EXAMPLES) <= 3


def test_own_loop_trains(small_folder, tmp_path):
    told = run([str(ROOT / "examples" / "own_loop.py"), str(small_folder)], cwd=tmp_path, python_path=[])
    assert re.fullmatch(r"step 1 of 1: loss \d+\.\d{3}\n", told)


@pytest.mark.parametrize("name", ["own_method.py", "own_backbone.py"])
def test_a_plugin_trains_and_is_evaluated_from_elsewhere(name, small_folder, tmp_path):
    (tmp_path / "torchvision" / "models").mkdir(parents=True)
    (tmp_path / "torchvision" / "models" / "video.py").write_text(TORCHVISION)
    words = command_of(ROOT / "examples" / name)
    words[words.index("--dataset") + 1] = str(small_folder)
    small = ["--labeled", "1", "--device", "cpu", "--steps", "2", "--workers", "0"]
    small += [word for setting in SMALL for word in ("--set", setting)]
    out = tmp_path / "run"
    run(["-m", "cmpl", *words, *small, "--out", str(out)], cwd=ROOT, python_path=[tmp_path])
    assert json.loads((out / "config.json").read_text())["plugins"] == [str(ROOT / "examples" / name)]
    again = run(["-m", "cmpl", "eval", str(out), "--json", "--device", "cpu"], cwd=tmp_path, python_path=[tmp_path])
    result = json.loads((out / "result.json").read_text())
    assert json.loads(again)["primary"] == result["primary"]
