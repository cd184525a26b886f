"""The demo's recipe, and what is said of its labels alone."""

import json
from pathlib import Path

import pytest

from cmpl.config import with_settings
from cmpl.recipes.demo import LABELS_ALONE, LABELS_ALONE_SOURCE, demo, labels_alone

ROOT = Path(__file__).parents[4]


def test_what_labels_alone_give_is_the_measured_figure():
    record = json.loads((ROOT / LABELS_ALONE_SOURCE).read_text())
    measured = record["arms"][f"supervised@{demo().optim.steps}"]
    assert (pytest.approx(measured["mean"], abs=5e-4), measured["num"]) == LABELS_ALONE
    measured_on = record["config"]
    assert (measured_on["data"]["dataset"], measured_on["data"]["labeled"]) == ("demo", demo().data.labeled)


@pytest.mark.parametrize(
    "settings", [{}, {"seed": "3", "data.split_seed": "3"}, {"method.name": "fixmatch"}, {"runtime.workers": "0"}]
)
def test_what_labels_alone_give_is_said_of_the_recipe(settings):
    line = labels_alone(with_settings(demo(), settings))
    assert line is not None
    assert f"The labels alone give {LABELS_ALONE[0]:.0%} (supervised" in line
    assert LABELS_ALONE_SOURCE in line


@pytest.mark.parametrize(
    "settings",
    [{"data.labeled": "2"}, {"optim.steps": "20"}, {"method.name": "supervised"}, {"data.root": "/other/videos"}],
)
def test_nothing_is_said_of_what_was_not_measured(settings):
    assert labels_alone(with_settings(demo(), settings)) is None
