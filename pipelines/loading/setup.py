"""What a machine and a process group mean for a loader, where nobody says otherwise."""

import os
from typing import NamedTuple

from pipelines.errors import InputError
from pipelines.loading.dali import require_dali
from pipelines.loading.engine import Engine
from pipelines.loading.nvdec import nvdec_problem
from pipelines.loading.sample import Media

MAX_WORKERS = 16
MAX_THREADS = 16
"""DALI decodes one video a thread, which waits for each picture. 32 threads made no more than 15 on an H100."""


class Place(NamedTuple):
    """Which process of how many this is."""

    rank: int
    num_ranks: int
    local_rank: int  # on this machine


def place_in_group(rank: int | None, num_ranks: int | None) -> Place:
    """The place given, or else torchrun's (environment). Raises InputError for a rank outside the group."""
    found = int(os.environ.get("RANK", "0")) if rank is None else rank
    size = int(os.environ.get("WORLD_SIZE", "1")) if num_ranks is None else num_ranks
    if not 0 <= found < size:
        raise InputError(f"rank: received {found} of {size}; accepted: 0 to {size - 1}")
    return Place(rank=found, num_ranks=size, local_rank=int(os.environ.get("LOCAL_RANK", "0")))


def engine_on(device: str, *, workers: int | None, prefetch_batches: int = 2, local_rank: int = 0) -> Engine:
    """How batches are made on a device: auto, cpu, cuda (torchrun's local rank) or cuda:N.

    With a GPU, NVDEC and the workers decode as a trial finds best (`loading.who_decodes`); without NVDEC, the workers.
    Raises InputError for a device that is not here.
    """
    import torch

    cores = cores_of_rank(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()) or (kind == "cpu" and number):
        raise InputError(f"device: received {device!r}; accepted: auto, cpu, cuda, cuda:N")
    if kind == "cpu":
        return Engine(num_workers=default_workers("cpu", cores, workers), prefetch_batches=prefetch_batches)
    index = int(number) if number else local_rank
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise InputError(f"device: received {device!r}, but torch sees no such GPU; accepted here: auto, cpu")
    require_dali("device", device)
    return Engine(
        media=Media.FRAMES if nvdec_problem() else Media.CUTS,
        device_index=index,
        num_workers=default_workers("cuda", cores, workers),
        num_threads=default_threads(cores),
        prefetch_batches=prefetch_batches,
        cpu_share=None,
    )


def cores_of_rank(num_local_ranks: int) -> int:
    """Processor cores that one of a machine's ranks may use."""
    return max(1, len(os.sched_getaffinity(0)) // num_local_ranks)


def default_threads(num_cores: int, *, torch_threads: int = 1) -> int:
    """DALI's threads of a rank with so many cores and a GPU: those that torch leaves, up to MAX_THREADS."""
    return max(1, min(MAX_THREADS, num_cores - torch_threads))


def default_workers(device_type: str, num_cores: int, wanted: int | None, *, torch_threads: int = 1) -> int:
    """Workers of a rank with so many cores: as wanted; else all cores that torch leaves on a GPU, and one more than
    there are on a CPU, where the trainer waits while they work and they while it does."""
    if wanted is not None:
        return wanted
    return min(MAX_WORKERS, max(0, num_cores - torch_threads) if device_type == "cuda" else num_cores + 1)
