"""How a rank joins the others: with which library, how patient, on which GPU. tests/distributed joins real ones."""

import datetime

import pytest
import torch
import torch.distributed as dist

from cmpl.training import ranks
from cmpl.training.ranks import Ranks, join_ranks
from pipelines.errors import InputError


@pytest.fixture
def joined(monkeypatch):
    """Rank 3 of 8, the second of four on its machine; the list has what the process group was told."""
    told = []
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: told.append((backend, options)))
    monkeypatch.setattr(ranks.threading, "Thread", lambda **_: type("NoThread", (), {"start": lambda self: None})())
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: told.append(("set_device", index)))
    return told


def test_on_a_gpu_the_others_wait_long_and_each_names_its_device(joined, monkeypatch):
    """The first rank probes a data set alone; NCCL's own ten minutes would end the job."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert join_ranks("cuda") == Ranks(rank=3, num_ranks=8, local_rank=1, num_local_ranks=4)
    backend, options = joined[1]
    assert joined[0] == ("set_device", 1)
    assert backend == "nccl"
    assert options["timeout"] >= datetime.timedelta(hours=1)
    assert options["device_id"] == torch.device("cuda", 1)


def test_on_a_cpu_gloo_joins_them(joined):
    join_ranks("cpu")
    backend, options = joined[0]
    assert backend == "gloo"
    assert options["device_id"] is None


def test_a_rank_without_a_gpu_of_its_own_is_told(joined, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="--nproc_per_node: received local rank 1; accepted: at most the 1 GPUs"):
        join_ranks("cuda")


def test_alone_nothing_is_joined(joined, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join_ranks("cuda") == Ranks()
    assert joined == []
