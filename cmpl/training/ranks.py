"""Which rank of how many this process is, and what ranks say to each other (torchrun's environment)."""

import contextlib
import gc
import importlib
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist

from pipelines.errors import InputError


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
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    return ranks


def leave_ranks() -> None:
    """Ends the process group and joins its threads, where there is one.

    A thread of gloo's that lets go of a tensor while Python shuts down aborts the process, after all work was done.
    The group joins its threads once nothing holds it: a model wrapped for it is part of a reference cycle, so the
    collector runs here.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
        gc.collect()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank. Waits for all of them."""
    if not dist.is_initialized():
        return flag
    votes = torch.tensor(int(flag), device=device)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return bool(votes.item())


def gather(value: object) -> list:
    """The value of every rank, in their order, on every rank."""
    if not dist.is_initialized():
        return [value]
    values: list = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


@contextlib.contextmanager
def first_rank_first(ranks: Ranks):
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
