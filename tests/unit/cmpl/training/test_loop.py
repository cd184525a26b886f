"""The trainer's step on a linear network and batches made by hand."""

import contextlib
import json

import pytest
import torch

from cmpl.methods.method import Method
from cmpl.training.checkpoint import best_checkpoint, checkpoints, load_checkpoint, module_tensors
from cmpl.training.loop import Trainer
from pipelines.batch import SemiBatch
from pipelines.errors import InputError, LoaderError
from tests.support.tiny import Linear
from tests.support.trainers import Loader, trainer


def trained(path, **settings: str) -> dict[str, torch.Tensor]:
    made = trainer(path, **settings)
    assert made.fit()
    return {name: value.detach().clone() for name, value in module_tensors(made.method).items()}


def test_accumulation_is_one_large_batch(tmp_path):
    """Without BatchNorm: two passes of two videos step as one of four does."""
    large = trained(tmp_path / "large", **{"batch.labeled": "4"})
    halves = trained(tmp_path / "halves", **{"batch.labeled": "2", "batch.accumulate": "2"})
    start = module_tensors(Linear(0))
    for name, value in large.items():
        torch.testing.assert_close(value, halves[name])
        assert not torch.allclose(value, start[name.removeprefix("primary.")])


def test_the_average_follows_its_definition(tmp_path):
    """w <- d w + (1 - d) w_new after every step, from the first step's weights on."""
    seen = []
    made = trainer(tmp_path / "run", **{"runtime.ema_decay": "0.5", "runtime.log_every_steps": "1"})
    made.optimizer.register_step_post_hook(lambda *_: seen.append(made.method.primary.head.weight.detach().clone()))
    made.fit()
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.5 * expected + 0.5 * weight
    torch.testing.assert_close(made.evaluated.primary.head.weight, expected)
    stored = load_checkpoint(checkpoints(tmp_path / "run" / "checkpoints")[-1])
    torch.testing.assert_close(stored.ema["module.primary.head.weight"], expected)


def test_the_best_checkpoint_is_that_of_the_best_validation(tmp_path):
    scores = iter([0.2, 0.7, 0.3])
    made = trainer(
        tmp_path / "run",
        validate=lambda method: {"val_top1": next(scores)},
        **{"evaluation.every_steps": "2", "runtime.checkpoint_every_steps": "1"},
    )
    made.fit()
    kept = [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")]
    assert kept == ["step-00000004", "step-00000005", "step-00000006"]
    assert made.best_top1 == 0.7


def test_unlabeled_losses_are_switched_on_after_their_delay(tmp_path):
    made = trainer(tmp_path / "run", num_steps=8, **{"method.unlabeled_delay": "0.25"})
    weights = []
    made.method.register_forward_pre_hook(
        lambda method, inputs, given: weights.append(given["unlabeled_weight"]), with_kwargs=True
    )
    made.fit()
    assert weights == [0.0] * 2 + [2.0] * 6


def spoiled_at(made: Trainer, step: int) -> None:
    """Makes a weight no number at the end of a step."""

    def spoil(*_: object) -> None:
        if made.step == step - 1:
            made.method.primary.head.weight.data[0, 0] = float("nan")

    made.optimizer.register_step_post_hook(spoil)


@pytest.mark.parametrize("stopped_by", ["the regular checkpoint", "a signal"])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, stopped_by):
    """Between two reports: the checkpoints kept are those from before."""
    every = "1" if stopped_by == "the regular checkpoint" else "3"
    settings = {"runtime.log_every_steps": "20", "runtime.checkpoint_every_steps": every}
    made = trainer(tmp_path / "run", num_steps=10, **settings)
    spoiled_at(made, 5)
    if stopped_by == "a signal":
        made.optimizer.register_step_post_hook(lambda *_: setattr(made.stop, "is_asked", made.step == 4))
    newest = 4 if every == "1" else 3
    with pytest.raises(InputError, match=f"not finite by step 5: training diverged.*checkpoint, of step {newest}, is"):
        made.fit()
    kept = checkpoints(tmp_path / "run" / "checkpoints")
    assert load_checkpoint(kept[-1]).step == newest
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


class Killed(Exception):
    """Stands for a kill."""


def validations(path, *, killed_at: int | None = None, stopped_at: int | None = None) -> tuple[list[int], int | None]:
    """The steps at which a run of six steps validated to the end, every two, and the best one's, over two calls."""
    scores, done = {2: 0.2, 4: 0.7, 6: 0.3}, []
    settings = {"evaluation.every_steps": "2", "runtime.checkpoint_every_steps": "2", "runtime.log_every_steps": "1"}

    def made_anew(killed_at: int | None) -> Trainer:
        def validate(_: Method) -> dict[str, float]:
            if made.step == killed_at:
                raise Killed
            done.append(made.step)
            return {"val_top1": scores[made.step]}

        made = trainer(path, validate=validate, **settings)
        return made

    made = made_anew(killed_at)
    if stopped_at is not None:
        made.optimizer.register_step_post_hook(lambda *_: setattr(made.stop, "is_asked", made.step == stopped_at - 1))
    with contextlib.suppress(Killed):
        made.fit()
    made = made_anew(None)
    made.fit()
    return done, made.best_step


@pytest.mark.parametrize("interruption", [{}, {"killed_at": 4}, {"stopped_at": 4}])
def test_no_validation_is_lost_and_the_best_stays_the_best(tmp_path, interruption):
    done, best_step = validations(tmp_path / "run", **interruption)
    assert (done, best_step) == ([2, 4, 6], 4)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val_top1" in line] == [2, 4, 6]
    assert best_checkpoint(tmp_path / "run" / "checkpoints").name == "step-00000004"


def test_a_checkpoint_is_saved_after_so_many_minutes(tmp_path):
    settings = {"runtime.checkpoint_every_steps": "1000", "runtime.log_every_steps": "1"}
    made = trainer(tmp_path / "run", **settings, **{"runtime.checkpoint_every_minutes": "1"})
    made.optimizer.register_step_post_hook(lambda *_: setattr(made, "saved_at", made.saved_at - 25))
    made.fit()  # every step seems to take 25 seconds: due after 75, after 150 the run is done
    assert [path.name[-1] for path in checkpoints(tmp_path / "run" / "checkpoints")] == ["3", "6"]


def test_a_loader_that_fails_ends_the_run_with_what_was_learned(tmp_path):
    made = trainer(tmp_path / "run")
    whole = made.loader_at

    def loader_at(micro_step: int) -> Loader:
        loader = whole(micro_step)
        given = loader.take

        def failing() -> SemiBatch:
            if loader.micro_step == 4:
                raise LoaderError("workers died 2 times at a.mp4")
            return given()

        loader.take = failing
        return loader

    made.loader_at = loader_at
    with pytest.raises(InputError, match=r"workers died 2 times at a.mp4; the same command goes on from step 4$"):
        made.fit()
    again = trainer(tmp_path / "run")
    again.fit()
    expected = trained(tmp_path / "whole")
    assert all(torch.equal(value, expected[name]) for name, value in module_tensors(again.method).items())
