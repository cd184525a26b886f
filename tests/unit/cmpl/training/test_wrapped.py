"""The step's switches change no number: weights after some steps, with each, are those without."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD

from cmpl.evaluate import as_written
from cmpl.methods.cross_model import CrossModel
from cmpl.training import wrapped
from cmpl.training.checkpoint import module_tensors
from cmpl.training.optim import aligned_gradients, sgd
from cmpl.training.switches import Switches
from tests.support.tiny import Small, batch
from tests.support.trainers import trainer


def method(batch_norm: str = "joint") -> CrossModel:
    torch.manual_seed(0)
    settings = CrossModel.Settings(threshold=0.1, batch_norm=batch_norm)
    return CrossModel(primary=Small(), auxiliary=Small(), settings=settings)


class Calls:
    """A compiler that runs what it is given as it is, and counts."""

    def __init__(self) -> None:
        self.compiled = self.run = 0

    def __call__(self, graph, inputs):
        self.compiled += 1

        def forward(*values):
            self.run += 1
            return graph.forward(*values)

        return forward


@pytest.fixture
def calls(monkeypatch):
    torch.compiler.reset()
    counted = Calls()
    monkeypatch.setattr(wrapped, "compile_options", lambda *, cuda_graphs: {"backend": counted, "dynamic": False})
    yield counted
    torch.compiler.reset()


def stepped(made: CrossModel, *, num_steps: int = 3, set_to_none: bool = True, delay: int = 1) -> dict:
    """Weights and momentum after steps of two micro-steps each; the first ones learn from labeled videos alone."""
    made.train()
    optimizer = sgd(made, lr=0.05, momentum=0.9, nesterov=False, weight_decay=1e-4)
    clips = batch(primary_frames=4, auxiliary_frames=4)
    for step in range(num_steps):
        optimizer.zero_grad(set_to_none=set_to_none)
        for micro_step in range(2):
            torch.manual_seed(2 * step + micro_step)
            loss, _ = made(clips, unlabeled_weight=0.0 if step < delay else 5.0)
            (loss / 2).backward()
        optimizer.step()
    return {name: value.detach().clone() for name, value in module_tensors(made).items()}


def assert_same(after: dict, expected: dict, **tolerance) -> None:
    assert after.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(after[name], value, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.mark.parametrize("batch_norm", ["joint", "separate"])
def test_compiled_networks_learn_the_same_over_the_end_of_the_delay(calls, batch_norm):
    """Dropout included: its masks are drawn from the same generator."""
    expected = stepped(method(batch_norm))
    made = method(batch_norm)
    wrapped.compile_networks(made, cuda_graphs=False)
    after = stepped(made)
    assert calls.run >= 12
    assert_same(after, expected, rtol=1e-4, atol=1e-5)


def test_a_shared_network_is_compiled_once(calls, monkeypatch):
    made, compiled = method(), []
    made.auxiliary = made.primary
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append(self))
    wrapped.compile_networks(made, cuda_graphs=False)
    assert compiled == [made.primary]


def test_evaluation_runs_what_was_written(calls):
    """Neither the compiled code nor another compilation, though the mode and the shapes are new."""
    made = method().train()
    wrapped.compile_networks(made, cuda_graphs=False)
    made.primary(torch.zeros(2, 3, 4, 6, 6))
    before = calls.compiled, calls.run
    assert before[1] > 0
    made.eval()
    with as_written([made.primary]), torch.inference_mode():
        inside = made.primary(torch.ones(3, 3, 4, 6, 6))
    assert (calls.compiled, calls.run) == before
    torch.testing.assert_close(inside, copy.deepcopy(made.primary)(torch.ones(3, 3, 4, 6, 6)))
    made.train()
    made.primary(torch.zeros(2, 3, 4, 6, 6))
    assert calls.run == before[1] + before[1], "training goes on compiled"


def test_an_average_of_compiled_networks_is_evaluated_as_written(calls):
    made = method()
    wrapped.compile_networks(made, cuda_graphs=False)
    average = wrapped.averaged(made, 0.9)
    average.module.primary(torch.zeros(2, 3, 4, 6, 6))
    assert calls.compiled == 0


def test_kept_gradients_learn_the_same(calls):
    """What CUDA graphs ask for: gradients in memory of their own, summed up in place."""
    expected, made = stepped(method()), method()
    wrapped.keep_gradients(made)
    places = [p.grad.data_ptr() for p in made.parameters()]
    after = stepped(made, set_to_none=False)
    assert [p.grad.data_ptr() for p in made.parameters()] == places
    assert_same(after, expected, rtol=0, atol=0)


def test_a_step_with_graphs_keeps_gradients_and_marks_each_pass(tmp_path, monkeypatch):
    marks = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))
    weights, places = [], []
    for name, switches in (("plain", Switches()), ("graphs", Switches(cuda_graphs=True))):
        made = trainer(tmp_path / name, switches=switches, **{"batch.accumulate": "2"})
        places = [p.grad.data_ptr() for p in made.method.parameters() if p.grad is not None]
        assert made.fit()
        weights.append(module_tensors(made.method))
    assert places == [p.grad.data_ptr() for p in made.method.parameters()]
    assert len(marks) == 12, "six steps of two passes"
    assert_same(weights[1], weights[0], rtol=0, atol=0)


def test_cudnn_tries_its_algorithms_where_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    trainer(tmp_path / "on", switches=Switches(cudnn_benchmark=True))
    assert torch.backends.cudnn.benchmark
    trainer(tmp_path / "off", switches=Switches())
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_fused_update_is_the_same_to_the_last_bit_but_one(nesterov):
    """Also where gradients lie in another order than weights."""
    results = []
    for fused in (False, True):
        made = method()
        optimizer = sgd(made, lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=1e-2, fused=fused)
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            for p in made.parameters():
                p.grad = torch.randn(p.shape, generator=generator)  # torch's own order, whatever the weight's
            if fused:
                aligned_gradients(made)
            optimizer.step()
        results.append(module_tensors(made))
    assert_same(results[1], results[0], rtol=1e-6, atol=1e-7)


def test_gradients_in_another_order_move_the_right_weights():
    """Why `aligned_gradients` is there; once torch refuses or handles this, it can go."""
    made = nn.Conv3d(4, 8, 3, bias=False)
    made.weight.data = made.weight.data.contiguous(memory_format=torch.channels_last_3d)
    before, gradient = made.weight.detach().clone(), torch.randn(8, 4, 3, 3, 3)
    made.weight.grad = torch.empty_like(made.weight)
    optimizer = SGD(made.parameters(), lr=1.0, fused=True)
    made.weight.grad = gradient.clone()
    aligned_gradients(made)
    assert made.weight.grad.stride() == made.weight.stride()
    optimizer.step()
    torch.testing.assert_close(made.weight.detach(), before - gradient)


def test_the_trainer_aligns_gradients_before_the_fused_update(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr("cmpl.training.loop.aligned_gradients", lambda module: order.append("aligned"))
    made = trainer(tmp_path / "run", num_steps=2, switches=Switches(fused_sgd=True))
    made.optimizer.register_step_pre_hook(lambda *_: order.append("step"))
    assert made.fit()
    assert order == ["aligned", "step"] * 2
