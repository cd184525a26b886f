"""Ranks, batches and lengths: what a run keeps when it goes on."""

from dataclasses import replace
from itertools import pairwise

import pytest

from cmpl.config import Config, with_settings
from cmpl.training.course import Course, Schedule, continued, fitted, videos_of
from pipelines.errors import InputError
from pipelines.plan.planner import batch_positions

BATCH = {"batch.labeled": "2", "batch.unlabeled": "3", "batch.accumulate": "2"}


def positions(config: Config, *, step: int, num_ranks: int) -> tuple[set[int], set[int]]:
    """The positions of both streams that all ranks take in one step."""
    batch = config.batch

    def of_stream(size: int) -> set[int]:
        return {
            position
            for micro_step in range(step * batch.accumulate, (step + 1) * batch.accumulate)
            for rank in range(num_ranks)
            for position in batch_positions(micro_step, batch_size=size, rank=rank, num_ranks=num_ranks)
        }

    return of_stream(batch.labeled), of_stream(batch.unlabeled)


def test_two_then_one_then_four_ranks_take_the_same_videos_a_step():
    config = with_settings(Config(), BATCH)
    videos = videos_of(config.batch, num_ranks=2)
    assert videos == (8, 12)
    on = {n: fitted(config, stored=config.batch, videos_per_step=videos, num_ranks=n) for n in (1, 2, 4)}
    assert {n: one.batch.accumulate for n, one in on.items()} == {1: 4, 2: 2, 4: 1}
    for step in (0, 1, 17):
        expected = set(range(8 * step, 8 * step + 8)), set(range(12 * step, 12 * step + 12))
        assert [positions(one, step=step, num_ranks=n) for n, one in on.items()] == [expected] * 3


def test_a_number_of_ranks_that_does_not_divide_is_refused():
    config = with_settings(Config(), BATCH)
    with pytest.raises(
        InputError, match=r"batch: received 3 ranks x \(2 labeled \+ 3 unlabeled\) x 2, but the run has 8"
    ):
        fitted(config, stored=config.batch, videos_per_step=(8, 12), num_ranks=3)


def test_passes_that_were_asked_for_are_not_overruled():
    config = with_settings(Config(), BATCH | {"batch.accumulate": "3"})
    stored = replace(config.batch, accumulate=2)
    with pytest.raises(InputError, match="accepted: the same product, as with batch.accumulate=4"):
        fitted(config, stored=stored, videos_per_step=(8, 12), num_ranks=1)
    smaller = with_settings(Config(), {"batch.labeled": "1", "batch.unlabeled": "1", "batch.accumulate": "8"})
    assert fitted(smaller, stored=stored, videos_per_step=(8, 8), num_ranks=1) == smaller


def test_a_finished_course_is_continued_and_one_under_way_is_not():
    course = Course(videos_per_step=(8, 12), schedules=(Schedule(first_step=0, last_step=60),))
    assert continued(course, num_steps=60, is_finished=False) == course
    longer = continued(course, num_steps=90, is_finished=True)
    assert [(one.first_step, one.last_step) for one in longer.schedules] == [(0, 60), (60, 90)]
    assert all(before.last_step == after.first_step for before, after in pairwise(longer.schedules))
    assert Course.from_json(longer.to_json()) == longer
    with pytest.raises(InputError, match="received 90, but the run has 60; accepted: 60, to which"):
        continued(course, num_steps=90, is_finished=False)
    with pytest.raises(InputError, match="received 30, but the run has 60; accepted: more than 60, or 60"):
        continued(course, num_steps=30, is_finished=True)
