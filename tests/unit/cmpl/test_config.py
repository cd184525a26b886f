"""Settings: strictly typed, misspellings named, nothing lost between JSON and back."""

import json
import math
import re
import typing

import pytest
import torch
from torch import nn

from cmpl.bounds import bounds_of
from cmpl.build import geometry_of
from cmpl.config import Config, differences, flattened, from_json, to_json, with_settings
from cmpl.recipes.demo import demo
from cmpl.recipes.folder import folder
from cmpl.recipes.kinetics import k400
from cmpl.recipes.ucf101 import ucf101
from cmpl.training.loop import step_seed
from cmpl.training.optim import sgd
from cmpl.training.plan import plan_of, steps_of
from pipelines.errors import InputError
from pipelines.plan.rand_augment import StrongSpec


@pytest.mark.parametrize("recipe", [demo, folder, k400, ucf101])
def test_recipes_survive_json(recipe):
    assert from_json(json.loads(json.dumps(to_json(recipe())))) == recipe()


def test_the_paper_s_setting():
    """Sec. 4.1, word for word."""
    c = k400("1pct")
    assert (c.optim.lr, c.optim.momentum, c.optim.weight_decay, c.optim.epochs) == (0.1, 0.9, 1e-4, 200)
    assert (c.batch.labeled, c.batch.unlabeled, c.method.threshold) == (2, 10, 0.9)
    assert (c.method.unlabeled_weight, k400("10pct").method.unlabeled_weight) == (5, 2)
    assert (c.primary.depth, c.primary.width, c.auxiliary.depth, c.auxiliary.width) == (50, 1, 50, 0.25)
    assert (c.clip.primary, c.clip.auxiliary, c.clip.crop_size) == ("8x8", "16x4", 224)
    assert (c.evaluation.clips, c.evaluation.crops, c.evaluation.short_side) == (10, 3, 256)
    assert (c.clip.strong_num_ops, c.clip.strong_magnitude, c.clip.short_side_jitter) == (2, 10, (256, 320))
    assert ucf101().optim.weight_decay == 1e-3
    assert ucf101().method == c.method


def test_settings_are_typed():
    c = with_settings(
        Config(),
        {
            "optim.lr": "0.2",
            "optim.steps": "10",
            "method.shared_weights": "true",
            "clip.short_side_jitter": "256, 300",
            "clip.strong_ops": "rotate,color",
            "data.horizontal_flip": "false",
            "runtime.workers": "none",
            "seed": "7",
        },
    )
    assert c.optim.lr == 0.2
    assert c.optim.steps == 10
    assert c.method.shared_weights is True
    assert c.clip.short_side_jitter == (256, 300)
    assert c.clip.strong_ops == ("rotate", "color")
    assert c.data.horizontal_flip is False
    assert c.runtime.workers is None
    assert c.seed == 7


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optim.lrr", "1", "optim.lrr: no such field; did you mean 'optim.lr'"),
        ("lr", "1", "lr: no such field"),
        ("optim", "1", "optim: no such field"),
        ("optim.lr", "fast", "optim.lr: received 'fast'; accepted: a number"),
        ("batch.labeled", "2.5", "batch.labeled: received '2.5'; accepted: a whole number"),
        ("method.shared_weights", "1", "accepted: true or false"),
        ("clip.short_side_jitter", "256", "accepted: 2 values"),
        ("method.name", "cmlp", "method.name: received 'cmlp'; did you mean 'cmpl'"),
        ("method.scheme", "self", "method.scheme: received 'self'; accepted: average, cross"),
        ("method.threshold", "1.2", "method.threshold: received 1.2; accepted: 0 to 1"),
        ("batch.unlabeled", "0", "batch.unlabeled: received 0; accepted: 1 to 65536"),
        ("optim.epochs", "0", "optim.epochs: received 0.0; accepted: more than 0, at most 1000000"),
        ("optim.lr", "nan", "optim.lr: received nan; accepted: 0 to 1000000"),
        ("optim.epochs", "inf", "optim.epochs: received inf; accepted: more than 0"),
        ("optim.momentum", "1", "optim.momentum: received 1.0; accepted: 0 to less than 1"),
        ("optim.clip_gradient_norm", "-1", "optim.clip_gradient_norm: received -1.0; accepted: more than 0"),
        ("clip.short_side_jitter", "0,9", "clip.short_side_jitter: received 0; accepted: 8 to 4096"),
        ("evaluation.short_side", "0", "evaluation.short_side: received 0; accepted: 8 to 4096"),
        ("runtime.torch_threads", "0", "runtime.torch_threads: received 0; accepted: 1 to 1024"),
    ],
)
def test_bad_settings_are_named(key, value, message):
    with pytest.raises(InputError, match=message):
        with_settings(Config(), {key: value})


NUMBERS = [
    key
    for section in ("data", "clip", "optim", "batch", "evaluation", "runtime")
    for key, hint in (
        (f"{section}.{name}", hint) for name, hint in typing.get_type_hints(type(getattr(Config(), section))).items()
    )
    if hint is not bool and ("int" in str(hint) or "float" in str(hint))
]


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "1e9", "1000000000"])
@pytest.mark.parametrize("key", ["seed", *NUMBERS])
def test_a_number_is_accepted_and_can_be_worked_with_or_is_refused_by_name(key, text):
    """Whatever comes: an error in the house's words, or a plan, a geometry and an optimizer."""
    try:
        value = ",".join((text,) * 2) if key == "clip.short_side_jitter" else text
        config = with_settings(k400(), {key: value})
        geometry_of(config)
        plan = plan_of(
            config,
            num_steps=steps_of(config, num_unlabeled_videos=100, num_ranks=1),
            num_ranks=1,
            uses_unlabeled=True,
        )
        StrongSpec(
            num_ops=config.clip.strong_num_ops,
            magnitude=config.clip.strong_magnitude,
            cutout_fraction=config.clip.cutout_fraction,
        )
    except InputError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert re.search(r"received .*accepted: ", refused)
        assert key.rpartition(".")[2] in refused
        return
    flat = flattened(config)[key]
    assert all(map(math.isfinite, flat if isinstance(flat, tuple) else (flat,)))
    assert plan.num_steps >= 1
    network = nn.Linear(2, 2)
    sgd(network, lr=plan.peak_lr, momentum=plan.momentum, nesterov=plan.nesterov, weight_decay=plan.weight_decay)
    torch.manual_seed(step_seed(config.seed, 10**8))


def test_every_number_of_these_sections_has_bounds():
    for section in ("data", "clip", "optim", "batch", "evaluation", "runtime"):
        for name, hint in typing.get_type_hints(type(getattr(Config(), section)), include_extras=True).items():
            if f"{section}.{name}" in NUMBERS:
                assert bounds_of(hint), f"{section}.{name}"


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(InputError, match="optim.nesterov: received true with optim.momentum=0; accepted: false"):
        with_settings(Config(), {"optim.nesterov": "true", "optim.momentum": "0"})


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        (None, "seed", "abc", "config.json: seed: received 'abc'; accepted: int"),
        (None, "data", 5, "config.json: data: received 5; accepted: an object"),
        ("optim", "lr", "0.1", "config.json: optim.lr: received '0.1'; accepted: float"),
        ("optim", "steps", True, "config.json: optim.steps: received True; accepted: "),
        ("clip", "short_side_jitter", [1], "clip.short_side_jitter: received"),
    ],
)
def test_values_of_a_file_are_typed(section, key, value, message):
    values = to_json(Config())
    (values[section] if section else values)[key] = value
    with pytest.raises(InputError, match=message):
        from_json(json.loads(json.dumps(values)))


def test_an_untrained_auxiliary_is_refused():
    with pytest.raises(InputError, match="nothing would train the auxiliary network"):
        with_settings(Config(), {"method.auxiliary_supervised": "false", "method.auxiliary_unsupervised": "false"})


def test_every_field_can_be_set_to_what_it_is():
    config = k400()

    def text(value) -> str:
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()

    same = with_settings(config, {key: text(value) for key, value in flattened(config).items()})
    assert same == config


def test_differences_leave_out_what_changes_no_number():
    other = with_settings(Config(), {"runtime.workers": "5", "optim.lr": "0.3", "data.root": "/x"})
    assert differences(Config(), other) == ["optim.lr: 0.1 there, 0.3 now"]


def test_an_unknown_field_of_a_file_is_named():
    values = to_json(Config())
    values["optim"]["lrr"] = 1
    with pytest.raises(InputError, match="unknown field optim.lrr; did you mean 'lr'"):
        from_json(values)
