"""Chooses the loader's threads, workers and batches made ahead by short trials of the real training step.

None of the three changes a number of a run, and neither does the trial: it trains networks of its own, and random
numbers are functions of the position. The batch size stays.
"""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cmpl.config import Config
from cmpl.training.loop import Batches, Loader, Trainer
from cmpl.training.metrics import mean_over_ranks
from cmpl.training.runtime import Runtime
from pipelines.files import written_whole
from pipelines.loading.setup import MAX_WORKERS

ENOUGH_WAIT_SHARE = 0.02
"""A step that waits for data for less of its time has nothing to gain."""
LEAST_GAIN = 0.03
"""A rise that makes training faster by less than this is not kept."""
MAX_PREFETCH = 8
MIN_BATCHES, MAX_STEPS = 5, 500
"""Least and most of a trial."""
NUM_WARMUP_BATCHES = 2
MOVES = (("loader_threads",), ("workers",), ("prefetch",), ("loader_threads", "workers"))
"""What is raised, in this order. Threads and processes that keep pace with each other gain only together."""


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """What may be raised, in this order."""

    loader_threads: int
    workers: int
    prefetch: int

    def options(self) -> str:
        """As options of the command line."""
        return (
            f"--workers {self.workers} --set runtime.loader_threads={self.loader_threads} "
            f"--set runtime.prefetch={self.prefetch}"
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How fast training was with some knobs; on several ranks their mean."""

    knobs: Knobs
    steps_per_second: float
    wait_share: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was tried, in order, what was chosen, and why nothing more was raised."""

    trials: tuple[Trial, ...]
    best: Trial
    reason: str

    def applied(self, config: Config, runtime: Runtime) -> tuple[Config, Runtime]:
        """The same run with the chosen knobs."""
        return with_knobs(config, runtime, self.best.knobs)

    def lines(self) -> list[str]:
        """The trials and the choice, in words."""
        tried = [
            f"autotune: {_in_words(trial.knobs)}: {trial.steps_per_second:.3g} steps/s, "
            f"waiting for data {100 * trial.wait_share:.1f} %"
            for trial in self.trials
        ]
        return [*tried, f"autotune: chose {_in_words(self.best.knobs)}: {self.reason} ({self.best.knobs.options()})"]

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        content = {"chosen": asdict(self.best.knobs), "reason": self.reason, "trials": [*map(asdict, self.trials)]}
        with written_whole(path) as draft:
            draft.write_text(json.dumps(content, indent=1) + "\n")


def with_knobs(config: Config, runtime: Runtime, knobs: Knobs) -> tuple[Config, Runtime]:
    """The same run with other knobs."""
    changed = replace(
        config.runtime, workers=knobs.workers, loader_threads=knobs.loader_threads, prefetch=knobs.prefetch
    )
    return (
        replace(config, runtime=changed),
        replace(runtime, num_workers=knobs.workers, loader_threads=knobs.loader_threads),
    )


def _in_words(knobs: Knobs) -> str:
    parts = (
        (knobs.loader_threads, "loader thread", "s"),
        (knobs.workers, "worker", "s"),
        (knobs.prefetch, "batch", "es"),
    )
    return ", ".join(f"{number} {noun}{'' if number == 1 else ending}" for number, noun, ending in parts) + " ahead"


def autotune(
    config: Config,
    runtime: Runtime,
    *,
    trainer: Trainer,
    loader_at: Callable[[Config, Runtime, int], Loader],
    num_cores: int,
    trial_seconds: float = 5.0,
) -> Choice:
    """The knobs that serve this run best, from its own upwards.

    `trainer` is one of its own, whose networks are thrown away; `loader_at(config, runtime, micro_step)` makes a loader
    with other knobs. Trials go on where the one before ended, so that none finds its files in memory for it.
    On several ranks every one must call this, and all choose the same.
    """
    start = Knobs(loader_threads=runtime.loader_threads, workers=runtime.num_workers, prefetch=config.runtime.prefetch)

    def measure(knobs: Knobs) -> Trial:
        loader = loader_at(*with_knobs(config, runtime, knobs), trainer.step * config.batch.accumulate)
        steps_per_second, wait_share = pace(trainer, loader, seconds=trial_seconds, num_made_ahead=knobs.prefetch)
        loader.close()
        return Trial(knobs=knobs, steps_per_second=steps_per_second, wait_share=wait_share)

    most = Knobs(loader_threads=num_cores, workers=min(MAX_WORKERS, num_cores), prefetch=MAX_PREFETCH)
    with random_state_kept(runtime.device):
        return search(start, most=most, measure=measure)


def search(start: Knobs, *, most: Knobs, measure: Callable[[Knobs], Trial]) -> Choice:
    """Doubles threads, then processes, then batches ahead, each while that makes training faster, and begins again
    until nothing does or waiting is under 2 %."""
    seen = {start: measure(start)}
    best = seen[start]
    gained = True
    while gained:
        gained = False
        for names in MOVES:
            while best.wait_share >= ENOUGH_WAIT_SHARE:
                knobs = raised(best.knobs, names, most=most)
                if knobs not in seen:
                    seen[knobs] = measure(knobs)
                if seen[knobs].steps_per_second < (1 + LEAST_GAIN) * best.steps_per_second:
                    break
                best, gained = seen[knobs], True
    if best.wait_share < ENOUGH_WAIT_SHARE:
        reason = f"waiting for data is {100 * best.wait_share:.1f} %, under {100 * ENOUGH_WAIT_SHARE:.0f} %"
    else:
        reason = f"waiting for data is {100 * best.wait_share:.1f} %, and raising more gains nothing"
    return Choice(trials=tuple(seen.values()), best=best, reason=reason)


def raised(knobs: Knobs, names: tuple[str, ...], *, most: Knobs) -> Knobs:
    """These doubled, or 1 where they were 0; up to `most`, and never lowered."""
    values = {name: getattr(knobs, name) for name in names}
    return replace(
        knobs, **{name: max(value, min(getattr(most, name), max(1, 2 * value))) for name, value in values.items()}
    )


def pace(trainer: Trainer, loader: Batches, *, seconds: float, num_made_ahead: int) -> tuple[float, float]:
    """(steps a second, share of the time spent waiting for data) over about so many seconds; the mean over ranks.

    All ranks take as many steps. Batches made ahead before the first step are used up before the clock starts.
    """

    def steps_of(num_batches: int) -> int:
        return max(1, -(-num_batches // trainer.plan.accumulate))

    timed_steps(trainer, loader, num_steps=steps_of(NUM_WARMUP_BATCHES))  # starts processes, may compile
    num_warm = steps_of(num_made_ahead)
    warm_seconds, _ = timed_steps(trainer, loader, num_steps=num_warm)
    step_seconds = mean_over_ranks({"step": warm_seconds / num_warm}, trainer.runtime.device)["step"]
    num_steps = min(MAX_STEPS, max(steps_of(MIN_BATCHES), round(seconds / step_seconds)))
    elapsed, waited = timed_steps(trainer, loader, num_steps=num_steps)
    means = mean_over_ranks({"elapsed": elapsed, "wait_share": waited / elapsed}, trainer.runtime.device)
    return num_steps / means["elapsed"], means["wait_share"]


def timed_steps(trainer: Trainer, loader: Batches, *, num_steps: int) -> tuple[float, float]:
    """Takes so many of the trainer's own steps: (seconds they took, seconds of these spent waiting for data)."""
    wait_mark = loader.wait_seconds
    synchronize(trainer.runtime.device)
    begin = time.perf_counter()
    for _ in range(num_steps):
        trainer.update(loader)
        trainer.step += 1
    synchronize(trainer.runtime.device)
    return time.perf_counter() - begin, loader.wait_seconds - wait_mark


def synchronize(device: torch.device) -> None:
    """Waits for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def random_state_kept(device: torch.device) -> contextlib.AbstractContextManager:
    """Torch's random numbers go on afterwards as if nothing had been."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
