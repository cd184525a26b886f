"""`python -m cmpl` is the command line, and --version says the installed version."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def called(*arguments: str) -> str:
    command = [sys.executable, "-m", "cmpl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_the_module_runs_the_command_line():
    assert called("--version").strip() == f"cmpl, version {importlib.metadata.version('cmpl')}"
    assert "Usage: cmpl train" in called("train", "--help")
