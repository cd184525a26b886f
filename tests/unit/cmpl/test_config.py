"""Settings: strictly typed, misspellings named, nothing lost between JSON and back."""

import json

import pytest

from cmpl.config import Config, differences, flattened, from_json, to_json, with_settings
from cmpl.recipes.demo import demo
from cmpl.recipes.folder import folder
from cmpl.recipes.kinetics import k400
from cmpl.recipes.ucf101 import ucf101
from pipelines.errors import InputError


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
        ("batch.unlabeled", "0", "batch.unlabeled: received 0; accepted: 1 or more"),
        ("optim.epochs", "0", "optim.epochs: received 0.0"),
    ],
)
def test_bad_settings_are_named(key, value, message):
    with pytest.raises(InputError, match=message):
        with_settings(Config(), {key: value})


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
    other = with_settings(Config(), {"runtime.workers": "5", "optim.lr": "0.3"})
    assert differences(Config(), other) == ["optim.lr: 0.1 there, 0.3 now"]


def test_an_unknown_field_of_a_file_is_named():
    values = to_json(Config())
    values["optim"]["lrr"] = 1
    with pytest.raises(InputError, match="unknown field optim.lrr; did you mean 'lr'"):
        from_json(values)
