"""Workers: the same batches as in one process, whatever happens to them."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pipelines.errors import LoaderError
from pipelines.loading.workers import OwnProcess, Workers
from tests.support.numbers_source import Numbers, SlowToStart
from tests.support.runs import ROOT


@pytest.fixture
def started():
    """Makes workers that end with the test."""
    made = []

    def start(source: Numbers, **options) -> Workers:
        made.append(Workers(source, **({"num_workers": 2, "num_ahead": 2} | options)))
        return made[-1]

    yield start
    for workers in made:
        workers.close()


def assert_same(workers: Workers, alone: OwnProcess, num_batches: int) -> None:
    for _ in range(num_batches):
        ours, theirs = workers.next(), alone.next()
        assert all(np.array_equal(a, b) for a, b in zip(ours.views, theirs.views, strict=True))
        assert np.array_equal(ours.ids, theirs.ids)
        assert ours.problems == theirs.problems


@pytest.mark.parametrize("num_workers", [1, 3])
@pytest.mark.parametrize("num_ahead", [1, 4])
def test_batches_are_those_of_one_process_in_order(started, num_workers, num_ahead):
    workers = started(Numbers(), num_workers=num_workers, num_ahead=num_ahead)
    assert_same(workers, OwnProcess(Numbers()), 12)


def test_a_batch_larger_than_the_queue_comes_whole(started):
    source = Numbers(batch_size=3000)
    assert_same(started(source), OwnProcess(source), 2)


def test_a_batch_stays_as_it_is_while_somebody_holds_it(started):
    workers = started(Numbers())
    held = [workers.next() for _ in range(6)]
    copies = [[view.copy() for view in batch.views] for batch in held]
    for _ in range(6):
        workers.next()
    for batch, copied in zip(held, copies, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(batch.views, copied, strict=True))


def test_memory_that_nobody_holds_is_used_again(started):
    workers = started(Numbers(), num_workers=1, num_ahead=1)
    for _ in range(10):
        workers.next()
    assert len(workers._memories) <= 4


def test_a_worker_that_dies_is_replaced_and_its_sample_made_again(started, tmp_path):
    trap = tmp_path / "trap"
    trap.write_text("once")
    workers = started(Numbers(deadly=13, trap=str(trap)))
    before = {process.pid for process in workers.processes}
    assert_same(workers, OwnProcess(Numbers()), 8)
    assert not trap.exists()
    assert len({process.pid for process in workers.processes} - before) == 1


def test_no_sample_is_made_twice_while_workers_are_slow_to_start(started, tmp_path, monkeypatch):
    """Tasks that nobody has taken yet are not lost."""
    monkeypatch.setattr("pipelines.loading.workers.IDLE_SECONDS", 0.1)
    made = tmp_path / "made.txt"
    assert_same(started(SlowToStart(made=str(made))), OwnProcess(Numbers()), 3)
    numbers = made.read_text().split()
    assert len(numbers) == len(set(numbers))


def test_a_sample_that_a_worker_took_and_never_named_is_made_again(started, monkeypatch):
    monkeypatch.setattr("pipelines.loading.workers.IDLE_SECONDS", 0.5)
    workers = started(SlowToStart())
    workers._request()
    workers._tasks_end.recv(100)  # as by a worker that dies before it says so
    assert_same(workers, OwnProcess(Numbers()), 3)


def test_workers_killed_from_outside_change_nothing(started, monkeypatch):
    monkeypatch.setattr("pipelines.loading.workers.IDLE_SECONDS", 0.5)
    workers, alone = started(Numbers()), OwnProcess(Numbers())
    for _ in range(3):
        assert_same(workers, alone, 2)
        os.kill(workers.processes[0].pid, signal.SIGKILL)
    assert_same(workers, alone, 6)


def test_a_video_that_workers_die_of_is_named(started, tmp_path):
    trap = tmp_path / "trap"
    trap.write_text("always")
    workers = started(Numbers(deadly=7, trap=str(trap)))
    workers.next()
    with pytest.raises(LoaderError, match=r"workers died 2 times at 7\.mp4 \(signal SIGKILL\)"):
        workers.next()


def test_a_worker_that_stalls_is_named_and_replaced(started, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("pipelines.loading.workers.STALL_SECONDS", 1.5)
    monkeypatch.setattr("pipelines.loading.workers.MAX_STALL_SECONDS", 3.0)
    trap = tmp_path / "trap"
    trap.write_text("")
    assert_same(started(Numbers(stalled=13, trap=str(trap))), OwnProcess(Numbers()), 8)
    lines = [record.getMessage() for record in caplog.records]
    assert any(re.fullmatch(r"worker \d+ has been at 13\.mp4 for \d+ s", line) for line in lines)
    assert any(re.match(r"a worker died at 13\.mp4 \(signal SIGKILL\)", line) for line in lines)


def test_what_the_data_cannot_give_comes_without_a_traceback(started):
    workers = started(Numbers(refused=6))
    workers.next()
    with pytest.raises(LoaderError, match=r"^no video decodes$"):
        workers.next()


def test_an_error_comes_with_the_workers_traceback(started):
    workers = started(Numbers(failing=6))
    workers.next()
    with pytest.raises(RuntimeError, match=r"(?s)a worker failed:.*sample_at.*ZeroDivisionError: nothing to be done"):
        workers.next()


def test_close_ends_the_processes():
    workers = Workers(Numbers(), num_workers=2, num_ahead=2)
    batch = workers.next()
    processes = workers.processes
    begin = time.monotonic()
    workers.close()
    assert time.monotonic() - begin < 10
    assert all(process.exitcode is not None for process in processes)
    assert batch.views[0].max() == 4, "what was handed over stays"


UNGUARDED = """
import sys
import pipelines
data = pipelines.open_dataset(sys.argv[1], labeled="1")
with pipelines.SemiLoader.from_dataset(data, batch=(1, 1), workers=2, device="cpu", crop_size=28) as loader:
    next(loader)
"""


def test_a_script_without_a_guard_is_told_in_one_line(small_folder, tmp_path):
    script = tmp_path / "loop.py"
    script.write_text(UNGUARDED)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, str(script), str(small_folder)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr
    assert 'accepted: the loop under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]
