"""Which rank of how many this process is, and what ranks say to each other (torchrun's environment)."""

import contextlib
import gc
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from pipelines.errors import InputError

T = TypeVar("T")

LAUNCHER_LOOKED_FOR_EVERY_SECONDS = 1.0
GRACE_SECONDS = 30.0
"""So long a rank whose launcher was killed may take to save and stop."""
TIMEOUT = timedelta(hours=2)
"""Ranks wait so long for another one: the first one probes a data set's files alone, which takes a slow disk long."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among all: `rank` of `num_ranks`, `local_rank` of `num_local_ranks` on its machine."""

    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0
    num_local_ranks: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and speaks."""
        return self.rank == 0


def join_ranks(device_type: str) -> Ranks:
    """Reads torchrun's environment and joins its process group (nccl on GPUs, gloo on CPUs).

    Without torchrun there is one rank. Raises InputError for a GPU rank without a GPU of its own.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return Ranks()
    ranks = Ranks(
        rank=int(os.environ["RANK"]),
        num_ranks=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ["LOCAL_RANK"]),
        num_local_ranks=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
    )
    if device_type == "cuda":
        if ranks.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"torchrun --nproc_per_node: received local rank {ranks.local_rank}; "
                f"accepted: at most the {torch.cuda.device_count()} GPUs of this machine"
            )
        torch.cuda.set_device(ranks.local_rank)
    # Functions of this module hold, as their default, the group there is when it is first imported (by torch's wrapper
    # of a model): they would hold ours for ever, and with it its threads (see leave_ranks).
    importlib.import_module("torch.distributed.nn")
    device = torch.device("cuda", ranks.local_rank) if device_type == "cuda" else None
    dist.init_process_group("nccl" if device else "gloo", timeout=TIMEOUT, device_id=device)
    threading.Thread(target=_end_with_launcher, args=(os.getppid(),), daemon=True).start()
    return ranks


def _end_with_launcher(launcher: int) -> None:
    """Asks this rank to save and stop when the launcher is gone (a killed torchrun leaves its ranks to themselves);
    ends it where it does not."""
    while os.getppid() == launcher:
        time.sleep(LAUNCHER_LOOKED_FOR_EVERY_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def leave_ranks() -> None:
    """Ends the process group and joins its threads, where there is one.

    A thread of gloo's that lets go of a tensor while Python shuts down aborts the process, after all work was done.
    The group joins its threads once nothing holds it: a model wrapped for it is part of a reference cycle, so the
    collector runs here.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
        gc.collect()


def any_rank(flags: list[bool], device: torch.device) -> list[bool]:
    """Whether each flag is set on any rank. Waits for all of them."""
    if not dist.is_initialized():
        return flags
    votes = torch.tensor([int(flag) for flag in flags], device=device)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def gather(value: T) -> list[T]:
    """The value of every rank, in their order, on every rank."""
    if not dist.is_initialized():
        return [value]
    values: list = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def first_rank_does(ranks: Ranks, work: Callable[[], T]) -> T:
    """Rank 0 does the work alone; all get its answer. Where it raises an InputError, all raise the same."""
    if not dist.is_initialized():
        return work()
    said: list = [None, None]
    if ranks.is_first:
        try:
            said[0] = work()
        except InputError as error:
            said[1] = str(error)
    dist.broadcast_object_list(said, src=0)
    answer, problem = said
    if problem is not None:
        raise InputError(problem)
    return answer


@contextlib.contextmanager
def first_rank_first(ranks: Ranks) -> Iterator[None]:
    """Rank 0 runs the block alone, the others after it: what it makes or probes is there for them. Where it raises, the
    others still have their turn, and raise the same error of the user's instead of one of a lost connection."""
    if not ranks.is_first:
        wait_for_all()
    try:
        yield
    finally:
        if ranks.is_first:
            wait_for_all()


def wait_for_all() -> None:
    """Returns once every rank has come here."""
    if dist.is_initialized():
        dist.barrier()
