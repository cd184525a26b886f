"""Answers to unlabeled videos are kept in some epochs, and the truth changes what is logged, never what is learned."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cmpl.config import with_settings
from cmpl.methods.cross_model import CrossModel
from cmpl.recipes.demo import demo
from cmpl.training.answers import FOLDER, AnswerLog, Span, read_answers, spans_of
from cmpl.training.identity import Identity, Videos
from cmpl.training.loop import Trainer
from cmpl.training.metrics import with_precision
from cmpl.training.plan import plan_of
from cmpl.training.ranks import Ranks
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import settle
from cmpl.training.switches import Switches
from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch
from tests.support.tiny import Linear, clips

NUM_VIDEOS, PER_STEP = 12, 4


class Loader:
    """Four of twelve unlabeled videos a step, one after another; `truth` (12,) is theirs."""

    num_unlabeled = PER_STEP
    wait_seconds = 0.0

    def __init__(self, step: int, truth: tuple[int, ...]) -> None:
        self.step, self.truth, self.problems = step, truth, {}

    def __next__(self) -> SemiBatch:
        videos = tuple((self.step * PER_STEP + k) % NUM_VIDEOS for k in range(PER_STEP))
        self.step += 1
        views = [torch.cat([clips(1, 2, video + more) for video in videos]) for more in (0, 100)]
        both = [ClipBatch(primary=view, auxiliary=view.flip(1)) for view in views]
        labeled = ClipBatch(primary=clips(2, 2, 7), auxiliary=clips(2, 2, 8))
        truth = torch.tensor([self.truth[video] for video in videos])
        return SemiBatch(
            labeled=LabeledBatch(standard=labeled, labels=torch.tensor([0, 3])),
            unlabeled=UnlabeledBatch(weak=both[0], strong=both[1], truth=truth, videos=videos),
        )

    def close(self) -> None:
        pass


def trained(path, truth: tuple[int, ...], *, until: int | None = None, **settings: str) -> Trainer:
    """A CMPL run of twelve steps, four epochs; stopped after the step `until`."""
    small = {
        "optim.lr": "0.01",
        "method.threshold": "0.5",
        "method.unlabeled_delay": "0",
        "runtime.log_every_steps": "3",
    }
    config = with_settings(
        demo(), small | {"runtime.recorded_epochs": "2", "batch.unlabeled": str(PER_STEP)} | settings
    )
    run = RunDirectory(path)
    run.claim(config)

    class Stopping(Reporter):
        def step(self, report):
            trainer.stop.is_asked = trainer.stop.is_asked or report.step == until

    trainer = Trainer(
        CrossModel(primary=Linear(0), auxiliary=Linear(1), settings=config.method),
        plan=plan_of(config, num_steps=12, num_ranks=1, uses_unlabeled=True),
        identity=Identity(
            classes=tuple("abcd"), videos={"unlabeled": Videos(number=NUM_VIDEOS, sha256="not looked at")}
        ),
        loader_at=lambda micro_step: Loader(micro_step, truth),
        validate=None,
        run=run,
        runtime=settle(config.runtime),
        switches=Switches(),
        ranks=Ranks(),
        reporter=Stopping(),
    )
    trainer.fit()
    return trainer


TRUTH = (0, 1, 2, 3) * 3


def test_the_truth_changes_what_is_logged_and_not_the_weights(tmp_path):
    known = trained(tmp_path / "known", TRUTH)
    permuted = trained(tmp_path / "permuted", TRUTH[1:] + TRUTH[:1])
    unknown = trained(tmp_path / "unknown", (-1,) * NUM_VIDEOS)
    for other in (permuted, unknown):
        for name, value in known.method.state_dict().items():
            assert torch.equal(value, other.method.state_dict()[name]), name
    logged = {
        name: [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("known", "permuted", "unknown")
    }
    right = {name: [line.get("pseudo_right_primary") for line in lines] for name, lines in logged.items()}
    assert right["known"] != right["permuted"]
    assert right["unknown"] == [None] * 4  # absent, not 0
    shares = {name: [line["pseudo_share_primary"] for line in lines] for name, lines in logged.items()}
    assert shares["known"] == shares["permuted"] == shares["unknown"]
    assert max(shares["known"]) > 0
    kept = [read_answers(tmp_path / name) for name in logged]
    for answers in zip(*kept, strict=True):
        assert (answers[0].classes["auxiliary"] == answers[2].classes["auxiliary"]).all()


def test_the_last_epochs_of_even_shares_are_kept(tmp_path):
    trained(tmp_path, TRUTH)
    kept = read_answers(tmp_path)
    assert [answers.span for answers in kept] == [
        Span(first_step=4, last_step=6),
        Span(first_step=10, last_step=12),
    ]
    for answers in kept:
        assert answers.videos.tolist() == list(range(NUM_VIDEOS))
        assert answers.classes.keys() == answers.confidences.keys() == {"primary", "auxiliary"}


def test_answers_are_those_of_the_weak_views(tmp_path):
    """With a learning rate of 0 the networks stay as they were made."""
    trained(tmp_path, TRUTH, **{"optim.lr": "0"})
    for answers in read_answers(tmp_path):
        for name, network, turn in (("primary", Linear(0), False), ("auxiliary", Linear(1), True)):
            from cmpl.methods.views import normalized

            shown = torch.cat([clips(1, 2, video) for video in range(NUM_VIDEOS)])
            p = torch.softmax(network(normalized(shown.flip(1) if turn else shown)), dim=1)
            assert answers.classes[name].tolist() == p.argmax(dim=1).tolist()
            np.testing.assert_allclose(answers.confidences[name], p.amax(dim=1).detach(), rtol=1e-5)


def test_a_stopped_run_ends_with_the_answers_of_one_that_was_not(tmp_path):
    trained(tmp_path / "whole", TRUTH)
    often = {"runtime.log_every_steps": "1"}
    trained(tmp_path / "stopped", TRUTH, until=5, **often)
    assert len(read_answers(tmp_path / "stopped")) == 1
    folder = tmp_path / "stopped" / FOLDER
    written = folder / "steps-00000004-00000006.part-00000005.safetensors"
    later = {name: np.zeros_like(value) for name, value in load_file(written).items()}
    save_file(later, folder / "steps-00000004-00000006.part-00000007.safetensors")  # by one that was killed
    trained(tmp_path / "stopped", TRUTH, **often)
    whole, stopped = read_answers(tmp_path / "whole"), read_answers(tmp_path / "stopped")
    assert [answers.span for answers in whole] == [answers.span for answers in stopped]
    for one, other in zip(whole, stopped, strict=True):
        assert (one.videos == other.videos).all()
        assert (one.confidences["auxiliary"] == other.confidences["auxiliary"]).all()


def test_none_are_kept_where_none_are_asked_for(tmp_path):
    trained(tmp_path, TRUTH, **{"runtime.recorded_epochs": "0"})
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize(
    ("first", "last", "epoch", "number", "expected"),
    [
        (0, 100, 5, 4, [(21, 25), (46, 50), (71, 75), (96, 100)]),
        (0, 14, 4, 20, [(2, 5), (6, 9), (11, 14)]),  # three whole epochs
        (10, 13, 8, 20, [(11, 13)]),  # less than one
        (0, 10, 5, 0, []),
        (7, 7, 5, 3, []),
    ],
)
def test_spans(first, last, epoch, number, expected):
    spans = spans_of(first, last, steps_an_epoch=epoch, number=number)
    assert [(span.first_step, span.last_step) for span in spans] == expected


def test_of_a_video_that_came_twice_the_later_answer_counts(tmp_path):
    log = AnswerLog(tmp_path, spans=[Span(first_step=1, last_step=4)], first_step=0, ranks=Ranks())
    for step, values in ((1, [0.1, 0.9]), (3, [0.8, 0.2]), (5, [0.5, 0.5])):  # the last is of no span
        log.add(step, (6, 2) if step == 1 else (2, 4), {"primary": torch.tensor([values, values[::-1]])})
    log.settle()
    log.write(4)
    (answers,) = read_answers(tmp_path)
    assert answers.videos.tolist() == [2, 4, 6]
    assert answers.classes["primary"].tolist() == [0, 1, 1]
    assert answers.confidences["primary"].tolist() == pytest.approx([0.8, 0.8, 0.9])


def test_without_any_truth_nothing_is_judged():
    shares = {
        "truth_known": 0.0,
        "pseudo_share_primary": 0.5,
        "pseudo_judged_primary": 0.0,
        "pseudo_right_primary": 0.0,
    }
    assert with_precision(shares) == {"truth_known": 0.0, "pseudo_share_primary": 0.5}
    judged = {"truth_known": 0.5, "pseudo_judged_primary": 0.4, "pseudo_right_primary": 0.1}
    assert with_precision(judged)["pseudo_correct_primary"] == 0.25
