"""How long a run is and how many videos make its steps: what ranks, batches and lengths come to.

A run keeps its videos a step, whatever the number of ranks: the forward passes a step make up for fewer ranks. A run
that is finished may be continued to more steps, with a schedule of its own from there.
"""

from dataclasses import dataclass, replace
from typing import Any

from cmpl.config import BatchConfig, Config
from pipelines.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate and delays run their course once between two steps."""

    first_step: int
    last_step: int


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a run's folder remembers of it."""

    videos_per_step: tuple[int, int]  # labeled, unlabeled; over all ranks
    schedules: tuple[Schedule, ...]  # the last one is under way, or done
    split: int = 1  # forward passes in place of each that was asked for, to fit the memory

    @property
    def current(self) -> Schedule:
        """The schedule that counts now."""
        return self.schedules[-1]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        schedules = [[schedule.first_step, schedule.last_step] for schedule in self.schedules]
        return {"videos_per_step": list(self.videos_per_step), "schedules": schedules, "split": self.split}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Course":
        """What `to_json` gave. Raises KeyError, TypeError or ValueError for other values."""
        labeled, unlabeled = values["videos_per_step"]
        schedules = tuple(Schedule(first_step=int(first), last_step=int(last)) for first, last in values["schedules"])
        if not schedules:
            raise ValueError("no schedule")
        return cls(
            videos_per_step=(int(labeled), int(unlabeled)), schedules=schedules, split=int(values.get("split", 1))
        )


def fresh_course(config: Config, *, num_ranks: int, num_steps: int) -> Course:
    """The course of a run that begins."""
    first = Schedule(first_step=0, last_step=num_steps)
    return Course(videos_per_step=videos_of(config.batch, num_ranks=num_ranks), schedules=(first,))


def videos_of(batch: BatchConfig, *, num_ranks: int) -> tuple[int, int]:
    """Labeled and unlabeled videos of one step, over all ranks: what the order of samples hangs on."""
    passes = batch.accumulate * num_ranks
    return batch.labeled * passes, batch.unlabeled * passes


def fitted(config: Config, *, stored: BatchConfig, videos_per_step: tuple[int, int], num_ranks: int) -> Config:
    """The configuration with as many forward passes a step as give the run's videos a step.

    `stored` is the batch that the run's folder names. Raises InputError where no number of passes does.
    """
    batch = config.batch
    if videos_of(batch, num_ranks=num_ranks) == videos_per_step:
        return config
    labeled, unlabeled = videos_per_step
    passes, rest = divmod(labeled, batch.labeled * num_ranks)
    fits = rest == 0 and passes * batch.unlabeled * num_ranks == unlabeled
    if not fits or batch.accumulate != stored.accumulate:
        asked = f"batch.accumulate={passes}" if fits else "batch.labeled and batch.unlabeled that divide them"
        raise InputError(
            f"batch: received {num_ranks} rank{'s' if num_ranks > 1 else ''} x ({batch.labeled} labeled + "
            f"{batch.unlabeled} unlabeled) x {batch.accumulate}, but the run has {labeled} + {unlabeled} videos a "
            f"step; accepted: the same product, as with {asked}"
        )
    return replace(config, batch=replace(batch, accumulate=passes))


def continued(course: Course, *, num_steps: int, is_finished: bool) -> Course:
    """The course up to `num_steps`: as it is, or with one more schedule where a finished run gets more steps.

    Raises InputError for fewer steps, and for more steps of a run that is under way.
    """
    last = course.current.last_step
    if num_steps == last:
        return course
    if is_finished and num_steps > last:
        more = Schedule(first_step=last, last_step=num_steps)
        return replace(course, schedules=(*course.schedules, more))
    accepted = f"more than {last}, or {last}" if is_finished else f"{last}, to which its learning rate falls; then more"
    raise InputError(f"optim.steps: received {num_steps}, but the run has {last}; accepted: {accepted}")
