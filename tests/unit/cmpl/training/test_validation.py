"""The quick validation's metrics, and when training says that confident predictions are often wrong."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cmpl.methods.settings import MethodSettings, PseudoLabelSettings
from cmpl.methods.tcl import TCL
from cmpl.registries import switched
from cmpl.session import train
from cmpl.training.plan import validation_interval
from cmpl.training.reporter import Reporter
from cmpl.training.validation import Doubts, validation_metrics
from tests.support.runs import config_of


def score(number: int, precision: float | None) -> dict[str, Any]:
    found = {"top1": 0.5, "top5": 1.0, "num_confident": number, "confident_share": number / 100}
    return found if precision is None else {**found, "confident_precision": precision}


def said(primary: dict[str, Any], auxiliary: dict[str, Any] | None = None, **options: Any) -> str | None:
    progress = options.pop("progress", 0.5)
    scores = {"primary": primary} | ({"auxiliary": auxiliary} if auxiliary else {})
    return Doubts(PseudoLabelSettings(**options)).line(scores, progress=progress)


def test_metrics_are_of_each_network():
    scores = {"primary": {**score(40, 0.75), "top1": 0.25}, "auxiliary": score(0, None)}
    assert validation_metrics(scores) == {
        "val_top1": 0.25,
        "val_confident_share_primary": 0.4,
        "val_confident_precision_primary": 0.75,
        "val_confident_share_auxiliary": 0.0,
    }
    assert validation_metrics({"primary": {"top1": 0.25, "top5": 1.0, "per_class": {}}}) == {"val_top1": 0.25}


def test_networks_that_are_often_wrong_are_named_with_what_may_help():
    line = said(score(20, 0.41), score(77, 0.599), threshold=0.8)
    assert line is not None
    assert "a confidence of 0.8 (method.threshold) or more are often wrong: primary 41% right of 20, auxiliary" in line
    for advice in ("more labels", "a higher method.threshold", "--init", "method.unlabeled_delay"):
        assert advice in line
    line = said(score(20, 0.9), score(77, 0.3))
    assert line is not None
    assert "often wrong: auxiliary 30% right of 77." in line


@pytest.mark.parametrize(
    ("found", "options"),
    [
        (score(50, 0.6), {}),
        (score(19, 0.0), {}),
        (score(0, None), {}),
        (score(50, 0.2), {"progress": 0.09}),
        (score(50, 0.2), {"progress": 0.24, "unlabeled_delay": 0.25}),
        (score(50, 0.2), {"unlabeled_weight": 0.0}),
    ],
)
def test_nothing_is_said_without_a_reason(found, options):
    """Right often enough, too few to judge, too early, or not learned from."""
    assert said(found, **options) is None
    assert said(score(50, 0.2), progress=0.25, unlabeled_delay=0.25) is not None


def test_methods_whose_pseudo_labels_come_late_or_never():
    scores, late = {"primary": score(50, 0.2)}, Doubts(TCL.Settings(finetune_share=0.25))
    assert late.line(scores, progress=0.74) is None
    assert late.line(scores, progress=0.75) is not None
    assert Doubts(MethodSettings()).line({"primary": {"top1": 0.1}}, progress=1.0) is None


def test_it_is_said_once():
    doubts, scores = Doubts(PseudoLabelSettings()), {"primary": score(50, 0.2)}
    assert doubts.line({"primary": score(50, 0.9)}, progress=0.5) is None
    assert doubts.line(scores, progress=0.5) is not None
    assert doubts.line(scores, progress=0.6) is None


class Notes(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("method", ["cmpl", "supervised"])
def test_a_run_logs_it_and_its_result_has_it(folder, tmp_path, monkeypatch, method):
    """Four validation videos of two classes: at threshold 0 all are confident, and precision is top-1."""
    monkeypatch.setattr("cmpl.training.validation.LEAST_CONFIDENT", 4)
    monkeypatch.setattr("cmpl.training.validation.LOW_PRECISION", 1.01)
    settings = {"optim.steps": "4", "evaluation.every_steps": "2", "method.threshold": "0"}
    config = config_of(folder, **settings, **{"method.unlabeled_delay": "0.75"})
    config = replace(config, method=switched(config.method, method))
    notes = Notes()
    result = train(config, path=tmp_path / "run", reporter=notes).result
    assert result is not None
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    validated = [line for line in lines if "val_top1" in line]
    assert [line["step"] for line in validated] == [2, 4]
    remarks = [line for line in notes.lines if "are often wrong" in line]
    if method == "supervised":
        assert {key for line in lines for key in line if "confident" in key} == set()
        assert not [key for key in result["primary"] if "confident" in key]
        assert remarks == []
        return
    for line in validated:
        assert line["val_confident_share_primary"] == line["val_confident_share_auxiliary"] == 1.0
        assert line["val_confident_precision_primary"] == line["val_top1"]
        assert 0 <= line["val_confident_precision_auxiliary"] <= 1
    for network in ("primary", "auxiliary"):
        assert result[network]["num_confident"] == result["num_evaluated"] == 4
        assert result[network]["confident_precision"] == result[network]["top1"]
    assert len(remarks) == 1  # at step 4: before three quarters of training nothing is learned from them
    assert notes.lines.index(remarks[0]) > next(i for i, line in enumerate(notes.lines) if "step 2:" in line)


@pytest.mark.parametrize(
    ("asked", "epoch", "steps", "interval"),
    [
        *((7, 100, 1000, 7), (0, 100, 1000, 0), (None, 100, 1000, 100), (None, 10, 1000, 50)),
        *((None, 900, 1000, 200), (None, 1, 3, 1), (None, 0, 1, 1)),
    ],
)
def test_validation_is_once_an_epoch_within_the_usual_numbers(asked, epoch, steps, interval):
    assert validation_interval(asked, steps_an_epoch=epoch, num_steps=steps) == interval
