"""Which part of a list of work is this process's: under torchrun by rank, in a SLURM array by the task's place."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipelines.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Share:
    """Part `index` of `number`, from 0."""

    index: int = 0
    number: int = 1

    def of(self, work: Sequence[T]) -> list[T]:
        """Every `number`-th piece of work from the one of `index`: the shares have no piece twice and miss none."""
        return list(work[self.index :: self.number])


def array_share(environment: Mapping[str, str] = os.environ) -> Share:
    """The place of this task in its SLURM array (`sbatch --array=0-7`); all of the work where there is none.

    Raises InputError for an array whose tasks are not numbered one by one.
    """
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return Share()
    number = int(environment["SLURM_ARRAY_TASK_COUNT"])
    first, last, task = (int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in ("MIN", "MAX", "ID"))
    if last - first + 1 != number:
        raise InputError(f"SLURM array: received {number} tasks from {first} to {last}; accepted: numbers one by one")
    return Share(index=task - first, number=number)


def process_share(environment: Mapping[str, str] = os.environ) -> Share:
    """The place of this process among all ranks of all tasks of an array."""
    array = array_share(environment)
    number, rank = int(environment.get("WORLD_SIZE", "1")), int(environment.get("RANK", "0"))
    return Share(index=array.index * number + rank, number=array.number * number)
