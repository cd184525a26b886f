"""Mean and spread over labeled subsets."""

import json
from pathlib import Path

import pytest

from cmpl import subsets
from cmpl.config import with_settings
from cmpl.recipes.demo import demo
from cmpl.session import Outcome
from cmpl.training.reporter import Reporter
from pipelines.errors import InputError


def fake_train(top1: list[float | None]):
    calls = []

    def train(config, *, path: Path, reporter, tune_loader) -> Outcome:
        calls.append((config.data.split_seed, config.seed, path.name))
        path.mkdir(parents=True, exist_ok=True)
        value = top1[len(calls) - 1]
        return Outcome(path=path, result=None if value is None else {"primary": {"top1": value, "top5": 1.0}})

    return train, calls


def test_subsets_differ_in_the_labeled_draw_alone(tmp_path, monkeypatch):
    train, calls = fake_train([0.2, 0.4, 0.6])
    monkeypatch.setattr(subsets, "train", train)
    outcomes = subsets.train_subsets(demo(), num_subsets=3, path=tmp_path, reporter=Reporter())
    assert calls == [(0, 0, "subset-0"), (1, 0, "subset-1"), (2, 0, "subset-2")]
    assert len(outcomes) == 3
    top1 = json.loads((tmp_path / "subsets.json").read_text())["primary"]["top1"]
    assert top1["mean"] == pytest.approx(0.4)
    assert top1["standard_deviation"] == pytest.approx(0.2)
    assert top1["standard_error"] == pytest.approx(0.2 / 3**0.5)
    assert top1["each"] == [0.2, 0.4, 0.6]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"data.split_seed": "4"}, "data.split_seed: received 4, but several subsets take 0 to 2; accepted: 0"),
        (
            {"data.labeled": "/lists/mine.csv"},
            "data.labeled: received '/lists/mine.csv', of which there are no",
        ),
        (
            {"data.labeled": "all"},
            "data.labeled: received 'all', of which there are no.*accepted: 1pct",
        ),
    ],
)
def test_subsets_that_would_be_the_same_are_refused(tmp_path, setting, message):
    with pytest.raises(InputError, match=message):
        subsets.train_subsets(
            with_settings(demo(), setting), num_subsets=3, path=tmp_path / "runs", reporter=Reporter()
        )
    assert not (tmp_path / "runs").exists()


def test_a_stopped_subset_ends_the_series(tmp_path, monkeypatch):
    train, calls = fake_train([0.2, None, 0.6])
    monkeypatch.setattr(subsets, "train", train)
    outcomes = subsets.train_subsets(demo(), num_subsets=3, path=tmp_path, reporter=Reporter())
    assert outcomes[-1].result is None
    assert len(calls) == 2
    assert not (tmp_path / "subsets.json").exists()
