"""Choosing the loader's knobs: the search on made-up speeds, the trials on a loader made by hand."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from cli.main import main
from cmpl.config import with_settings
from cmpl.recipes.demo import demo
from cmpl.training.autotune import (
    ENOUGH_WAIT_SHARE,
    Knobs,
    Trial,
    autotune,
    pace,
    random_state_kept,
    search,
    timed_steps,
    with_knobs,
)
from cmpl.training.checkpoint import module_tensors
from cmpl.training.runtime import settle
from tests.support.commands import small
from tests.support.trainers import Loader, trainer

START = Knobs(loader_threads=1, workers=1, prefetch=2)
MOST = Knobs(loader_threads=8, workers=8, prefetch=8)


def chosen(steps_per_second, *, start: Knobs = START, most: Knobs = MOST):
    """The choice where training runs as fast as the function says, and could run at 100."""
    measured = []

    def measure(knobs: Knobs) -> Trial:
        measured.append(knobs)
        rate = min(100.0, steps_per_second(knobs))
        return Trial(knobs=knobs, steps_per_second=rate, wait_share=1 - rate / 100)

    choice = search(start, most=most, measure=measure)
    assert [trial.knobs for trial in choice.trials] == measured, "each trial is kept"
    assert len(set(measured)) == len(measured), "nothing is measured twice"
    return choice


def test_nothing_is_raised_where_nobody_waits():
    choice = chosen(lambda knobs: 99.0)
    assert choice.best.knobs == START
    assert len(choice.trials) == 1
    assert "1.0 %, under 2 %" in choice.reason


def test_what_gains_nothing_is_not_raised():
    choice = chosen(lambda knobs: 50.0)
    assert choice.best.knobs == START
    assert [trial.knobs for trial in choice.trials] == [
        START, replace(START, loader_threads=2), replace(START, workers=2), replace(START, prefetch=4),
        replace(START, loader_threads=2, workers=2),
    ]  # fmt: skip
    assert "gains nothing" in choice.reason


def test_a_small_gain_is_noise():
    assert chosen(lambda knobs: 50.0 + 0.1 * knobs.workers).best.knobs == START


def test_workers_are_doubled_until_waiting_ends():
    choice = chosen(lambda knobs: 25.0 * knobs.workers)
    assert choice.best.knobs == Knobs(loader_threads=1, workers=4, prefetch=2)
    assert choice.best.wait_share < ENOUGH_WAIT_SHARE


def test_knobs_that_help_only_together_are_raised_in_turns():
    """Each must raise its rate with the other's: two processes keep one thread busy."""
    choice = chosen(lambda knobs: 12.0 * min(knobs.workers, knobs.loader_threads * 2))
    assert choice.best.steps_per_second == 96
    assert choice.best.knobs == Knobs(loader_threads=4, workers=8, prefetch=2)


def test_limits_hold_also_for_what_begins_above_them():
    choice = chosen(lambda knobs: 1.0 * knobs.workers, most=replace(MOST, workers=3))
    assert choice.best.knobs.workers == 3
    start = Knobs(loader_threads=12, workers=20, prefetch=16)
    assert chosen(lambda knobs: 1.0, start=start).best.knobs == start


def test_a_run_without_reading_processes_gets_one():
    assert chosen(lambda knobs: 40.0 * (1 + knobs.workers), start=replace(START, workers=0)).best.knobs.workers == 2


def test_only_three_fields_change():
    config = demo()
    runtime = settle(config.runtime)
    knobs = Knobs(loader_threads=5, workers=7, prefetch=6)
    config_then, runtime_then = with_knobs(config, runtime, knobs)
    assert config_then.runtime == replace(config.runtime, loader_threads=5, workers=7, prefetch=6)
    assert replace(config_then, runtime=config.runtime) == config
    assert runtime_then == replace(runtime, loader_threads=5, num_workers=7)


class Slow(Loader):
    """Says that it makes the trainer wait a second a batch."""

    def __next__(self):
        self.wait_seconds += 1
        return super().__next__()


@pytest.fixture
def made(tmp_path):
    return trainer(tmp_path / "run")


def test_steps_are_the_trainers_own(made, tmp_path):
    """Timed steps move the weights exactly as those of `fit` do, and count what the loader made them wait."""
    loader = Loader(0, 4)
    waits = iter([0.25] * 6)
    loader.wait_seconds = 10.0

    class Waiting:
        wait_seconds = 10.0

        def __next__(self):
            self.wait_seconds += next(waits)
            return next(loader)

    elapsed, waited = timed_steps(made, Waiting(), num_steps=6)
    assert elapsed > 0
    assert waited == 1.5
    assert made.step == 6
    other = trainer(tmp_path / "other")
    assert other.fit()
    for name, value in module_tensors(other.method).items():
        torch.testing.assert_close(module_tensors(made.method)[name], value, rtol=0, atol=0)


def test_a_trial_ends_with_the_time_that_it_was_given(made):
    loader = Loader(0, 4)
    steps_per_second, wait_share = pace(made, loader, seconds=1e-9, num_made_ahead=4)
    assert made.step == 2 + 4 + 5, "warm-up, what was made ahead, the least number of batches"
    assert steps_per_second > 0
    assert wait_share == 0


def test_accumulated_batches_count_towards_a_trial(tmp_path):
    made = trainer(tmp_path / "run", **{"batch.accumulate": "4"})
    pace(made, Loader(0, 4), seconds=1e-9, num_made_ahead=4)
    assert made.step == 1 + 1 + 2


def test_the_run_afterwards_is_the_run_without(made, tmp_path):
    """Neither torch's random numbers nor the folder nor the batch size know of the trials."""
    config = with_settings(made.run.config(), {"runtime.workers": "0", "runtime.loader_threads": "1"})
    runtime = settle(config.runtime)
    asked = []

    def loader_at(config, runtime, micro_step):
        asked.append((runtime.loader_threads, runtime.num_workers, config.runtime.prefetch, micro_step))
        assert config.batch == made.run.config().batch
        return Slow(micro_step, config.batch.labeled)

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    files = sorted(made.run.path.rglob("*"))
    choice = autotune(config, runtime, trainer=made, loader_at=loader_at, num_cores=2, trial_seconds=1e-9)
    assert torch.equal(torch.rand(3), expected)
    assert sorted(made.run.path.rglob("*")) == files
    steps = [2 + prefetch + 5 for _, _, prefetch, _ in asked]
    assert [micro_step for *_, micro_step in asked] == [sum(steps[:trial]) for trial in range(len(asked))]
    assert [trial.knobs for trial in choice.trials] == [
        Knobs(loader_threads=threads, workers=workers, prefetch=prefetch) for threads, workers, prefetch, _ in asked
    ]
    assert len(asked) > 1


def test_a_choice_is_said_and_written(tmp_path):
    choice = chosen(lambda knobs: 25.0 * knobs.workers)
    *tried, last = choice.lines()
    assert len(tried) == len(choice.trials)
    assert tried[0] == ("autotune: 1 loader thread, 1 worker, 2 batches ahead: 25 steps/s, waiting for data 75.0 %")
    assert last.endswith("(--workers 4 --set runtime.loader_threads=1 --set runtime.prefetch=2)")
    path = tmp_path / "autotune.json"
    choice.write(path)
    written = json.loads(path.read_text())
    assert written["chosen"] == {"loader_threads": 1, "workers": 4, "prefetch": 2}
    assert [trial["steps_per_second"] for trial in written["trials"]] == [25.0, 25.0, 50.0, 100.0]
    assert [item.name for item in tmp_path.iterdir()] == ["autotune.json"]


def test_random_numbers_go_on_afterwards():
    before = torch.get_rng_state()
    with random_state_kept(torch.device("cpu")):
        torch.manual_seed(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_tuned_run_ends_in_the_same_weights(small_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("cmpl.training.autotune.autotune.__kwdefaults__", {"trial_seconds": 1e-9})
    monkeypatch.setattr("cmpl.training.autotune.MAX_WORKERS", 1)  # each trial with workers starts them
    monkeypatch.setattr("cmpl.training.autotune.MAX_PREFETCH", 2)
    weights = []
    for name, flags in (("plain", []), ("tuned", ["--autotune"])):
        path = tmp_path / name
        called = CliRunner().invoke(
            main, ["train", *small(small_folder), "--steps", "2", "--workers", "0", "--out", str(path), *flags]
        )
        assert called.exit_code == 0, called.output
        assert ("autotune: chose" in called.output) == (path / "autotune.json").exists() == bool(flags)
        weights.append(hashlib.sha256((path / "checkpoints/step-00000002/model.safetensors").read_bytes()).hexdigest())
    assert weights[0] == weights[1]
