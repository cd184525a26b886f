"""docs/extending.md and README.md: every block of code runs, with the command below it, on small videos."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import pipelines
from tests.support.commands import SMALL

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
MOST_CODE_LINES = 22
NEEDED_BY_WORKERS = ("my_operation.py",)


class Block(NamedTuple):
    """A block of Python, and the words of the `cmpl train` line below it, if there is one."""

    file: str
    code: str
    words: list[str]


def blocks() -> list[Block]:
    """The blocks of the page, in order."""
    pattern = r"```python\n# (\S+\.py)\n(.*?)```\n(?:\n```\ncmpl (train [^\n]*)\n```)?"
    return [Block(file, code, shlex.split(words)) for file, code, words in re.findall(pattern, PAGE, re.S)]


@pytest.fixture
def place(small_folder, tmp_path) -> Path:
    """A folder with `my_videos` in it."""
    (tmp_path / "my_videos").symlink_to(small_folder)
    return tmp_path


ONE_BY_ONE = """
import sys
from cli.main import main
if __name__ == "__main__":
    for words in eval(sys.argv[1]):
        main(words, standalone_mode=False)
"""
"""Commands of `cmpl` in one process, as it takes seconds until torch is imported."""


def run(words: list[str], *, cwd: Path) -> str:
    """Runs Python in a folder; its standard output."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_is_found():
    assert len(blocks()) == PAGE.count("```python") == 6
    assert [bool(block.words) for block in blocks()] == [True] * 4 + [False] * 2
    assert all(len(block.code.splitlines()) <= MOST_CODE_LINES for block in blocks())


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.file)
def test_a_block_runs(block, place):
    (place / block.file).write_text(block.code)
    if not block.words:
        assert "torch.Size([2, 3, 8, 112, 112])" in run([block.file], cwd=place)
        return
    small = ["--device", "cpu", "--steps", "1", "--out", "run"]
    small += ["--workers", "1" if block.file in NEEDED_BY_WORKERS else "0"]
    small += [] if "--labeled" in block.words else ["--labeled", "1"]
    small += [word for setting in SMALL for word in ("--set", setting)]
    commands = [*block.words, *small], ["eval", "run", "--json", "--device", "cpu"]
    assert '"top1"' in run(["-c", ONE_BY_ONE, repr(commands)], cwd=place)


def test_the_loop_of_the_readme_runs(place, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    code = re.search(r"```python\n(import pipelines\n.*?)```", readme, re.S)
    assert code is not None
    monkeypatch.chdir(place)
    names = {"pipelines": pipelines}
    exec(code[1].replace('"10pct"', '"1"'), names)
    batch = names["batch"]
    assert batch.labeled.standard.primary.shape == (2, 3, 8, 224, 224)
    assert batch.unlabeled.strong.auxiliary.shape == (10, 3, 16, 224, 224)
