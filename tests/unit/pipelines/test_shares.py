"""Shares of a list of work: disjoint, whole, by what torchrun and SLURM say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.shares import Share, array_share, process_share


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_are_disjoint_and_whole(length, number):
    work = list(range(length))
    parts = [Share(index=index, number=number).of(work) for index in range(number)]
    assert sorted(piece for part in parts for piece in part) == work
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def array(task: int, *, first: int = 1, last: int = 4) -> dict[str, str]:
    return {
        "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_MAX": str(last),
        "SLURM_ARRAY_TASK_COUNT": str(last - first + 1),
    }


def test_what_the_environment_says():
    assert process_share({}) == array_share({}) == Share(index=0, number=1)
    assert array_share(array(3)) == Share(index=2, number=4)
    assert process_share({"RANK": "1", "WORLD_SIZE": "2"}) == Share(index=1, number=2)
    every = [
        process_share({**array(task), "RANK": str(rank), "WORLD_SIZE": "2"}) for task in range(1, 5) for rank in (0, 1)
    ]
    assert every == [Share(index=index, number=8) for index in range(8)]


def test_an_array_with_gaps_is_refused():
    with pytest.raises(InputError, match="SLURM array: received 2 tasks from 1 to 9; accepted: numbers one by one"):
        array_share({**array(1, last=9), "SLURM_ARRAY_TASK_COUNT": "2"})
