"""Two processes under torchrun, gloo on the CPU."""

import json
import shutil
import time
from pathlib import Path

import pytest

from cmpl.session import train
from cmpl.training.answers import read_answers
from cmpl.training.checkpoint import checkpoints
from cmpl.training.reporter import Reporter
from tests.support.processes import descendants, is_running
from tests.support.runs import RUN_IT, config_of, weights
from tests.support.torchrun import torchrun, torchrun_begun

NAME_THREADS = """
    import os
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    Path(sys.argv[2]).with_name("threads." + os.environ.get("RANK", "alone")).write_text("".join(names))
"""


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
    """Without its last checkpoint and taken up again: the weights of a run in one go."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    more = {"runtime.sync_batch_norm": "false", "runtime.checkpoint_every_minutes": "0.0001"}  # at every report
    done = torchrun(script, str(folder), str(whole), repr(more))
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((whole / "result.json").read_text())
    assert result["num_evaluated"] == 4
    threads = threads_of(whole)  # one that outlives the group may abort the process as Python shuts down
    assert threads.keys() == {".0", ".1"}
    assert not any("gloo" in name for names in threads.values() for name in names), threads

    shutil.copytree(whole, parts)
    shutil.rmtree(checkpoints(parts / "checkpoints")[-1])
    (parts / "result.json").unlink()
    again = torchrun(script, str(folder), str(parts), repr(more))
    assert again.returncode == 0, again.stderr[-2000:]
    assert weights(parts) == weights(whole)
    kept, kept_again = read_answers(whole), read_answers(parts)
    assert len(kept[-1].videos) >= 6  # two ranks x three videos a step: those of both
    assert [one.videos.tolist() for one in kept] == [one.videos.tolist() for one in kept_again]


def test_a_run_of_two_ranks_goes_on_with_one_and_ends_with_its_launcher(folder, script, tmp_path, monkeypatch):
    """torchrun is killed: its ranks save and end by themselves, and free the folder for a single process."""
    run = tmp_path / "run"
    monkeypatch.setenv("SECONDS_A_REPORT", "0.5")  # of the ranks alone: they are at work when the signal comes
    launcher = torchrun_begun(script, str(folder), str(run), repr({"optim.steps": "24"}))
    metrics = run / "metrics.jsonl"
    while not (metrics.exists() and '"step": 4' in metrics.read_text()) and launcher.poll() is None:
        time.sleep(0.05)
    ranks = descendants(launcher.pid)
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 60
    while any(map(is_running, ranks)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in ranks if is_running(pid)]
    assert not (run / "result.json").exists()  # they did not just come to their end
    assert checkpoints(run / "checkpoints")

    alone = config_of(folder, **{"optim.steps": "24"})
    notes: list[str] = []
    reporter = Reporter()
    reporter.note = notes.append
    assert train(alone, path=run, reporter=reporter).result["steps"] == 24
    assert any(note.startswith("batch.accumulate: 2 in place of 1") and note.endswith("4 + 6 videos") for note in notes)
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(2, 25, 2))


def test_a_users_error_is_told_without_a_rank_that_lost_the_other(folder, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("from cli.main import main\nmain()\n")
    words = ("train", "--dataset", str(folder), "--labeled", "999", "--device", "cpu", "--out", str(tmp_path / "run"))
    done = torchrun(script, *words)
    assert done.returncode != 0
    assert "Error: labeled: received '999', but class" in done.stderr
    assert "[rank1]" not in done.stderr  # torch puts it before a traceback's lines
    assert not (tmp_path / "run").exists()
