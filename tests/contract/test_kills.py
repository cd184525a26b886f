"""A run that is killed again and again, at any moment and in any process: it ends in the same weights."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from cmpl.training.checkpoint import checkpoints
from tests.support.processes import descendants
from tests.support.runs import ROOT, RUN_IT, weights

NUM_KILLS = 24
NUM_STEPS = 400
VICTIMS = ("trainer", "worker", "all")


@pytest.mark.slow
def test_killed_two_dozen_times_it_ends_in_the_same_weights(folder, tmp_path):
    """Moments and victims are random by a fixed seed: start-up, steps, checkpoints, evaluation."""
    settings = {"optim.steps": str(NUM_STEPS), "runtime.workers": "2"}
    script = tmp_path / "run_it.py"
    script.write_text(RUN_IT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def start(name: str) -> subprocess.Popen:
        words = [sys.executable, str(script), str(folder), str(tmp_path / name), repr(settings)]
        return subprocess.Popen(words, env=environment, start_new_session=True)

    assert start("whole").wait() == 0
    rng, kills = random.Random(0), 0
    while kills < NUM_KILLS:
        process = start("killed")
        deadline = time.monotonic() + rng.uniform(1, 15)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.poll() is not None:
            break
        victim, workers = rng.choice(VICTIMS), sorted(descendants(process.pid))
        if victim == "worker" and workers:
            os.kill(rng.choice(workers), signal.SIGKILL)
            kills += 1
            time.sleep(rng.uniform(0, 2))  # the trainer replaces it and goes on
        if victim == "all":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        kills += 1
    assert start("killed").wait() == 0
    assert checkpoints(tmp_path / "killed" / "checkpoints")[-1].name == f"step-{NUM_STEPS:08}"
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert kills >= NUM_KILLS // 2, "the run ended before it was killed often: make it longer"
