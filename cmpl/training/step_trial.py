"""Decides by a short trial of the real training step whether compiling it, and capturing it in CUDA graphs, pays.

The trial trains networks of its own on clips of noise, and changes no number of the run but by the rounding of another
order of sums.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from cmpl.methods.views import narrow_clips
from cmpl.training.autotune import LEAST_GAIN, random_state_kept, synchronize
from cmpl.training.loop import Trainer
from cmpl.training.metrics import mean_over_ranks
from cmpl.training.ranks import any_rank
from cmpl.training.runtime import Runtime
from cmpl.training.switches import Switches
from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch
from pipelines.plan.geometry import Geometry

WORTH_SECONDS = 20 * 60.0
"""A run with less than this left is not tried: compiling takes minutes (assumed, not measured)."""
NUM_COMPARED, NUM_TIMED = 3, 10
MOST_LOSS_DIFFERENCE = 0.05
"""Share by which the mean loss of the first steps may differ from that of the plain step, by rounding alone."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to compute the step, and what came of it: seconds of a step, or why it is not taken."""

    name: str
    switches: Switches
    seconds: float | None = None
    problem: str | None = None

    def line(self) -> str:
        """In words."""
        came = self.problem if self.seconds is None else f"{self.seconds:.4g} s a step"
        return f"step, {self.name}: {came}"


@dataclass(frozen=True, kw_only=True)
class StepChoice:
    """The switches that were chosen, and the arms that were tried, the plain one first."""

    switches: Switches
    arms: tuple[Arm, ...]
    reason: str

    def lines(self) -> list[str]:
        """The trial and the choice, in words."""
        return [*(arm.line() for arm in self.arms), f"step: {self.reason}"]


class SameBatch:
    """A loader that gives one batch again and again, and never keeps anybody waiting."""

    wait_seconds = 0.0

    def __init__(self, batch: SemiBatch) -> None:
        self.batch = batch

    def __next__(self) -> SemiBatch:
        return self.batch


def try_step(
    switches: Switches,
    *,
    trainer_with: Callable[[Switches], Trainer],
    batch: SemiBatch,
    num_steps: int,
    worth_seconds: float = WORTH_SECONDS,
) -> StepChoice:
    """The switches with those `on_trial` decided.

    `trainer_with(switches)` makes a trainer of its own, the same networks each time. num_steps: steps that the run has
    left. An arm that fails, or whose loss is another than the plain step's, is not taken. On several ranks every one
    must call this, and all choose the same.
    """
    plain = switches.decided(compile=switches.compile, cuda_graphs=False)
    first, expected = _tried(Arm(name="as it is", switches=plain), trainer_with, batch, expected=None)
    if first.seconds is None:
        return StepChoice(switches=plain, arms=(first,), reason="no trial: the step failed")
    left = first.seconds * num_steps
    if left < worth_seconds:
        reason = f"about {left / 60:.1f} minutes are left, and compiling takes minutes: nothing else was tried"
        return StepChoice(switches=plain, arms=(first,), reason=reason)
    arms = [first]
    for arm in _candidates(switches):
        if arm.switches != plain:
            arms.append(_tried(arm, trainer_with, batch, expected=expected)[0])
    best = min(arms, key=lambda arm: arm.seconds or float("inf"))
    assert best.seconds is not None
    if best.seconds > (1 - LEAST_GAIN) * first.seconds:
        return StepChoice(switches=plain, arms=tuple(arms), reason="nothing was faster by 3 %: as it is")
    reason = f"{best.name}, {first.seconds / best.seconds:.2f} times as fast"
    return StepChoice(switches=best.switches, arms=tuple(arms), reason=reason)


def _candidates(switches: Switches) -> list[Arm]:
    compiled = switches.decided(compile=True, cuda_graphs=False)
    arms = [Arm(name="compiled", switches=compiled)]
    if "cuda_graphs" in switches.on_trial:
        arms.append(Arm(name="compiled, CUDA graphs", switches=replace(compiled, cuda_graphs=True)))
    return arms


def _tried(
    arm: Arm, trainer_with: Callable[[Switches], Trainer], batch: SemiBatch, *, expected: float | None
) -> tuple[Arm, float]:
    """The arm with what came of it, and the mean loss of its first steps."""
    trainer = trainer_with(arm.switches)
    # At the end of the schedule all losses count, and weights move little: the arms' losses stay comparable.
    trainer.step = max(trainer.plan.first_step, trainer.num_steps - NUM_COMPARED - NUM_TIMED)
    device, loader = trainer.runtime.device, SameBatch(batch)
    try:
        with random_state_kept(device):
            problem = _problem_alone(trainer, batch)
            if any_rank([problem is not None], device)[0]:
                return replace(arm, problem=problem or "failed on another rank"), float("nan")
            for _ in range(NUM_COMPARED):
                _step(trainer, loader)
            loss = mean_over_ranks(trainer.sums.means(), device)["loss"]
            if expected is not None and not abs(loss - expected) <= MOST_LOSS_DIFFERENCE * abs(expected):
                return replace(arm, problem=f"its loss is {loss:.4g} in place of {expected:.4g}"), loss
            samples = []
            for _ in range(NUM_TIMED):
                synchronize(device)
                begin = time.perf_counter()
                _step(trainer, loader)
                synchronize(device)
                samples.append(time.perf_counter() - begin)
            seconds = mean_over_ranks({"seconds": statistics.median(samples)}, device)["seconds"]
            return replace(arm, seconds=seconds), loss
    finally:
        del trainer
        if arm.switches.compile:
            torch.compiler.reset()  # also lets go of captured graphs
        if device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def _problem_alone(trainer: Trainer, batch: SemiBatch) -> str | None:
    """Compiles what a step calls, without the other ranks, so that none waits for one that failed."""
    try:
        with trainer.runtime.autocast(), narrow_clips(trainer.switches.narrow_clips):
            loss, _ = trainer.method(batch, unlabeled_weight=trainer.plan.unlabeled_weight, progress=0.0)
        loss.backward()
    except Exception as error:  # whatever a compiler, a driver or memory may say: the plain step does without it
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
    return None


def _step(trainer: Trainer, loader: SameBatch) -> None:
    trainer.update(loader)
    trainer.step += 1


def noise_batch(
    geometry: Geometry, *, num_labeled: int, num_unlabeled: int, num_classes: int, runtime: Runtime
) -> SemiBatch:
    """A batch of noise in the shapes and the memory order of the loader's; num_unlabeled 0: labeled videos alone."""
    device, side = runtime.device, geometry.crop_size
    generator = torch.Generator(device).manual_seed(0)

    def clips(num_videos: int, num_frames: int) -> torch.Tensor:
        shape = (num_videos, num_frames, side, side, 3)
        made = torch.randint(0, 256, shape, dtype=torch.uint8, device=device, generator=generator)
        return made.permute(0, 4, 1, 2, 3)

    def view(num_videos: int) -> ClipBatch:
        second = geometry.auxiliary
        return ClipBatch(
            primary=clips(num_videos, geometry.primary.num_frames),
            auxiliary=None if second is None else clips(num_videos, second.num_frames),
            flow=clips(num_videos, second.num_frames // 2) if geometry.flow and second is not None else None,
        )

    def labels(num_videos: int) -> torch.Tensor:
        return torch.arange(num_videos, device=device) % num_classes

    unlabeled = None
    if num_unlabeled:
        unlabeled = UnlabeledBatch(weak=view(num_unlabeled), strong=view(num_unlabeled), truth=labels(num_unlabeled))
    return SemiBatch(labeled=LabeledBatch(standard=view(num_labeled), labels=labels(num_labeled)), unlabeled=unlabeled)
