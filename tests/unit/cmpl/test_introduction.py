"""What a run says before its first step."""

import dataclasses

from cmpl.config import Config, with_settings
from cmpl.introduction import held_line
from tests.support.views import planners


def test_pictures_that_are_kept_are_told_with_their_size(pool):
    plans = planners(pool)
    both = plans["labeled"], plans["unlabeled"]
    mib = pool.decoded_bytes / 2**20
    assert 1 < mib < 256
    line = held_line(Config(), both)
    assert line == (
        f"each worker decodes a video once and keeps its pictures: {mib:.0f} MiB, within runtime.held_mib=256"
    )
    assert held_line(with_settings(Config(), {"runtime.held_mib": "0"}), both) is None
    assert held_line(with_settings(Config(), {"runtime.held_mib": str(int(mib))}), both) is None


def test_a_supervised_run_is_judged_by_its_labeled_videos(pool):
    plans = planners(pool)
    long = dataclasses.replace(pool, num_frames=pool.num_frames * 10_000)
    both = plans["labeled"], dataclasses.replace(plans["unlabeled"], pool=long)
    assert held_line(Config(), both) is None
    assert held_line(with_settings(Config(), {"method.name": "supervised"}), both)
