"""Two processes under torchrun, gloo on the CPU."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs import ROOT, RUN_IT, weights

NAME_THREADS = """
    import os
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    Path(sys.argv[2]).with_name("threads." + os.environ.get("RANK", "alone")).write_text("".join(names))
"""


def torchrun(script: Path, *arguments: str, num_ranks: int = 2) -> subprocess.CompletedProcess:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={num_ranks}", f"--master_port={port}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, str(script), *arguments], env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.fixture
def script(tmp_path) -> Path:
    """RUN_IT, which also writes each rank's threads as it ends."""
    path = tmp_path / "run_it.py"
    path.write_text(RUN_IT.replace("    sys.exit", NAME_THREADS + "    sys.exit"))
    return path


def threads_of(run: Path) -> dict[str, set[str]]:
    """Rank -> the names of the threads that it ended with."""
    return {path.suffix: set(path.read_text().split()) for path in sorted(run.parent.glob("threads.*"))}


def test_two_ranks_train_one_model_and_go_on(folder, script, tmp_path):
    """Stopped at half the way and taken up again: the weights of a run in one go."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    more = {"runtime.sync_batch_norm": "false"}
    done = torchrun(script, str(folder), str(whole), repr(more))
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((whole / "result.json").read_text())
    assert result["num_evaluated"] == 4
    threads = threads_of(whole)  # one that outlives the group may abort the process as Python shuts down
    assert threads.keys() == {".0", ".1"}
    assert not any("gloo" in name for names in threads.values() for name in names), threads

    first = torchrun(script, str(folder), str(parts), repr(more))
    assert first.returncode == 0, first.stderr[-2000:]
    newest = sorted((parts / "checkpoints").glob("step-*"))[-1]
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    (parts / "result.json").unlink()
    again = torchrun(script, str(folder), str(parts), repr(more))
    assert again.returncode == 0, again.stderr[-2000:]
    assert weights(parts) == weights(whole)


def test_another_number_of_videos_a_step_is_refused(folder, script, tmp_path):
    run = tmp_path / "run"
    assert torchrun(script, str(folder), str(run), "{}").returncode == 0
    (run / "result.json").unlink()
    alone = subprocess.run(
        [sys.executable, str(script), str(folder), str(run), repr({"batch.labeled": "3"})],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert alone.returncode == 1
    assert "videos a step" in alone.stderr


def test_a_users_error_is_told_without_a_rank_that_lost_the_other(folder, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("from cli.main import main\nmain()\n")
    words = ("train", "--dataset", str(folder), "--labeled", "999", "--device", "cpu", "--out", str(tmp_path / "run"))
    done = torchrun(script, *words)
    assert done.returncode != 0
    assert "Error: labeled: received '999', but class" in done.stderr
    assert "[rank1]" not in done.stderr  # torch puts it before a traceback's lines
    assert not (tmp_path / "run").exists()
