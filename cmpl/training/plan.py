"""The values that a training run is made of: steps, batches, learning rate, weights of the losses."""

import math
from dataclasses import dataclass

from cmpl.config import Config
from cmpl.training.course import videos_of

FEWEST_VALIDATIONS, MOST_VALIDATIONS = 5, 20
"""Quick validations of a run, where nobody says how many."""
PAPER_BATCH = 192
"""Videos of a step in the paper: 16 GPUs x (2 + 10)."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What the trainer needs to know of a configuration, worked out once."""

    first_step: int  # of the schedule: 0, or where a finished run was continued
    num_steps: int  # of the run, to the schedule's end
    videos_per_step: tuple[int, int]  # labeled, unlabeled; over all ranks: what the order of samples hangs on
    accumulate: int  # forward passes a step
    lr: float  # as configured, for messages
    peak_lr: float  # scaled with the batch where asked
    warmup: float  # share of training in which the learning rate rises
    momentum: float
    nesterov: bool
    weight_decay: float
    clip_gradient_norm: float | None
    unlabeled_weight: float  # lambda
    unlabeled_delay: float  # share of training before lambda counts
    seed: int
    ema_decay: float  # 0: no average
    sync_batch_norm: bool
    log_every_steps: int
    recorded_epochs: int  # 0: none
    checkpoint_every_steps: int
    checkpoint_every_minutes: float  # 0: by steps alone
    validate_every_steps: int  # 0: never

    @property
    def first_unlabeled_step(self) -> int:
        """The step from which on unlabeled videos are looked at; `num_steps` where they never are."""
        if self.unlabeled_weight == 0:
            return self.num_steps
        return self.first_step + math.ceil(self.unlabeled_delay * (self.num_steps - self.first_step))


def plan_of(
    config: Config,
    *,
    num_steps: int,
    num_ranks: int,
    uses_unlabeled: bool,
    first_step: int = 0,
    num_unlabeled_videos: int = 0,
) -> TrainingPlan:
    """Works out the plan of a configuration for so many ranks, and a schedule from `first_step` to `num_steps`.

    num_unlabeled_videos: how many make an epoch; 0: not known.
    """
    videos = videos_per_step(config, num_ranks=num_ranks, uses_unlabeled=uses_unlabeled)
    optim, runtime = config.optim, config.runtime
    return TrainingPlan(
        first_step=first_step,
        num_steps=num_steps,
        videos_per_step=videos_of(config.batch, num_ranks=num_ranks),
        accumulate=config.batch.accumulate,
        lr=optim.lr,
        peak_lr=peak_learning_rate(config, num_videos_per_step=videos),
        warmup=optim.warmup,
        momentum=optim.momentum,
        nesterov=optim.nesterov,
        weight_decay=optim.weight_decay,
        clip_gradient_norm=optim.clip_gradient_norm,
        unlabeled_weight=config.method.unlabeled_weight,
        unlabeled_delay=config.method.unlabeled_delay,
        seed=config.seed,
        ema_decay=runtime.ema_decay,
        sync_batch_norm=runtime.sync_batch_norm,
        log_every_steps=runtime.log_every_steps,
        recorded_epochs=runtime.recorded_epochs if uses_unlabeled else 0,
        checkpoint_every_steps=runtime.checkpoint_every_steps,
        checkpoint_every_minutes=runtime.checkpoint_every_minutes,
        validate_every_steps=validation_interval(
            config.evaluation.every_steps,
            steps_an_epoch=math.ceil(num_unlabeled_videos / videos_of(config.batch, num_ranks=num_ranks)[1]),
            num_steps=num_steps - first_step,
        ),
    )


def validation_interval(asked: int | None, *, steps_an_epoch: int, num_steps: int) -> int:
    """Steps from one quick validation to the next: as asked, else an epoch, within the usual numbers of a run."""
    if asked is not None:
        return asked
    shortest, longest = (math.ceil(num_steps / number) for number in (MOST_VALIDATIONS, FEWEST_VALIDATIONS))
    return max(1, min(max(steps_an_epoch, shortest), longest))


def videos_per_step(config: Config, *, num_ranks: int, uses_unlabeled: bool) -> int:
    """Videos that the networks learn from in one step, over all ranks: the effective batch."""
    labeled, unlabeled = videos_of(config.batch, num_ranks=num_ranks)
    return labeled + unlabeled * uses_unlabeled


def peak_learning_rate(config: Config, *, num_videos_per_step: int) -> float:
    """`optim.lr`, or with `optim.scale_lr` that times the videos of a step over the paper's 192 (Sec. 4.1)."""
    return config.optim.lr * (num_videos_per_step / PAPER_BATCH if config.optim.scale_lr else 1.0)


def steps_of(config: Config, *, num_unlabeled_videos: int, num_ranks: int) -> int:
    """Optimizer steps of a run: `optim.steps`, or `optim.epochs` passes over the unlabeled videos."""
    if config.optim.steps is not None:
        return config.optim.steps
    _, per_step = videos_of(config.batch, num_ranks=num_ranks)
    return math.ceil(config.optim.epochs * num_unlabeled_videos / per_step)
