"""The trial that decides whether a compiled step pays: on a CPU, with compilers made by hand."""

import time
from dataclasses import replace

import pytest
import torch

from cmpl.recipes.demo import demo
from cmpl.training import wrapped
from cmpl.training.runtime import settle
from cmpl.training.step_trial import MOST_LOSS_DIFFERENCE, noise_batch, try_step
from cmpl.training.switches import Switches
from pipelines.plan.geometry import ClipShape, Geometry
from tests.support.trainers import Loader, trainer

ON_TRIAL = Switches(fused_sgd=True, on_trial=("compile", "cuda_graphs"))
SLOW_SECONDS = 0.02


class Slowly:
    """A plain step that takes a while; compiled ones go without that."""

    def __init__(self, made) -> None:
        self.update = made.update

    def __call__(self, loader) -> None:
        time.sleep(SLOW_SECONDS)
        self.update(loader)


@pytest.fixture
def compiler(monkeypatch):
    """Takes the compiler's place by a function of (network's forward, clips); the list has one entry a compiled arm."""
    asked = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)

    def use(run):
        def compile_networks(method, *, cuda_graphs):
            asked.append("graphs" if cuda_graphs else "compiled")
            forward = method.primary.forward
            method.primary.forward = lambda clips: run(forward, clips)

        monkeypatch.setattr(wrapped, "compile_networks", compile_networks)
        return asked

    return use


def as_it_is(forward, clips):
    return forward(clips)


def tried(tmp_path, *, switches=ON_TRIAL, num_steps=1000, worth_seconds=0.0, is_slow=True):
    made = []

    def trainer_with(switches):
        one = trainer(tmp_path / str(len(made)), switches=switches)
        made.append(switches)
        if is_slow and not switches.compile:
            one.update = Slowly(one)
        return one

    choice = try_step(
        switches,
        trainer_with=trainer_with,
        batch=Loader(0, 4).take(),
        num_steps=num_steps,
        worth_seconds=worth_seconds,
    )
    assert [arm.switches for arm in choice.arms] == made
    return choice


def test_what_is_faster_is_taken(tmp_path, compiler):
    asked = compiler(as_it_is)
    choice = tried(tmp_path)
    assert asked == ["compiled", "graphs"]
    assert [arm.name for arm in choice.arms] == ["as it is", "compiled", "compiled, CUDA graphs"]
    assert choice.switches.compile
    assert choice.switches.fused_sgd, "the other switches stay"
    assert choice.switches.on_trial == ()
    assert choice.arms[0].seconds >= SLOW_SECONDS
    assert "times as fast" in choice.lines()[-1]


def test_what_gains_nothing_is_not_taken(tmp_path, compiler):
    def slow(forward, clips):
        time.sleep(2 * SLOW_SECONDS)
        return forward(clips)

    compiler(slow)
    choice = tried(tmp_path)
    assert choice.switches == replace(ON_TRIAL, on_trial=())
    assert choice.lines()[-1] == "step: nothing was faster by 3 %: as it is"


def test_a_compiler_that_fails_ends_no_run(tmp_path, compiler):
    def failing(forward, clips):
        raise OSError("no C compiler\nand more")

    compiler(failing)
    choice = tried(tmp_path)
    assert not choice.switches.compile
    assert [arm.seconds is None for arm in choice.arms] == [False, True, True]
    assert choice.lines()[1] == "step, compiled: OSError: no C compiler"


def test_a_compiler_that_computes_something_else_is_not_taken(tmp_path, compiler):
    def wrong(forward, clips):
        return 3 * forward(clips)

    compiler(wrong)
    choice = tried(tmp_path)
    assert not choice.switches.compile
    assert all("its loss is" in arm.problem for arm in choice.arms[1:])
    assert 0 < MOST_LOSS_DIFFERENCE < 0.1


def test_a_short_run_is_not_tried(tmp_path, compiler):
    asked = compiler(as_it_is)
    choice = tried(tmp_path, worth_seconds=60.0, num_steps=100)
    assert asked == []
    assert choice.switches == replace(ON_TRIAL, on_trial=())
    assert "minutes are left" in choice.reason


def test_only_what_is_left_open_is_tried(tmp_path, compiler):
    asked = compiler(as_it_is)
    tried(tmp_path, switches=Switches(on_trial=("compile",)))
    assert asked == ["compiled"]
    asked.clear()
    choice = tried(tmp_path / "graphs", switches=Switches(compile=True, on_trial=("cuda_graphs",)))
    assert asked == ["compiled", "graphs"]
    assert choice.switches.compile, "asked for, so never switched off"


def test_the_trial_sees_the_unlabeled_losses_though_the_run_begins_without(tmp_path):
    places, ends = [], []

    def trainer_with(switches):
        one = trainer(tmp_path / "one", num_steps=100, switches=switches, **{"method.unlabeled_delay": "0.5"})
        update = one.update

        def noted(loader):
            places.append(one._unlabeled_weight() == one.plan.unlabeled_weight > 0)
            update(loader)
            ends.append(one.step)

        one.update = noted
        return one

    switches = Switches(on_trial=("compile",))
    try_step(switches, trainer_with=trainer_with, batch=Loader(0, 4).take(), num_steps=1)
    assert places
    assert all(places)
    assert max(ends) < 100


def test_the_trial_leaves_torchs_random_numbers_alone(tmp_path, compiler):
    compiler(as_it_is)
    before = torch.get_rng_state()
    tried(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_has_the_shapes_and_the_memory_of_the_loaders_batches():
    geometry = Geometry(primary=ClipShape(4, 8), auxiliary=ClipShape(8, 8, pairs=True), crop_size=28, flow=True)
    runtime = settle(demo().runtime)
    made = noise_batch(geometry, num_labeled=2, num_unlabeled=3, num_classes=4, runtime=runtime)
    assert made.labeled.standard.primary.shape == (2, 3, 4, 28, 28)
    assert made.unlabeled.weak.auxiliary.shape == (3, 3, 8, 28, 28)
    assert made.unlabeled.strong.flow.shape == (3, 3, 4, 28, 28)
    assert made.unlabeled.weak.primary.is_contiguous(memory_format=torch.channels_last_3d)
    assert made.labeled.labels.max() < 4
    alone = noise_batch(geometry, num_labeled=2, num_unlabeled=0, num_classes=4, runtime=runtime)
    assert alone.unlabeled is None
