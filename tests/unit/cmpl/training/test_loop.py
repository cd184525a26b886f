"""The trainer's step on a linear network and batches made by hand."""

import pytest
import torch

from cmpl.training.checkpoint import checkpoints, load_checkpoint, module_tensors
from tests.support.tiny import Linear
from tests.support.trainers import trainer


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
        validate=lambda method: next(scores),
        **{"evaluation.every_steps": "2", "runtime.checkpoint_every_steps": "1"},
    )
    made.fit()
    kept = [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")]
    assert kept == ["step-00000004", "step-00000005", "step-00000006"]
    assert made.best_top1 == 0.7


@pytest.mark.parametrize(("weight_before", "weight_after"), [(0.0, 2.0)])
def test_unlabelled_losses_are_switched_on_after_their_delay(tmp_path, weight_before, weight_after):
    made = trainer(tmp_path / "run", num_steps=8, **{"method.unlabeled_delay": "0.25"})
    weights = []
    for made.step in range(8):
        weights.append(made._unlabeled_weight())
    assert weights == [weight_before] * 2 + [weight_after] * 6
