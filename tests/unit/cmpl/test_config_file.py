"""--config: a run's config.json, or a part of one, under the options of the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.options import config_of
from cmpl.config import Config, changed, from_json, to_json
from cmpl.config_file import overlaid, read_config_file
from pipelines.errors import InputError


def written(path: Path, values: Any) -> str:
    path.write_text(json.dumps(values))
    return str(path)


def of(file: str | None, *settings: str, dataset: str | None = "demo", **options: Any) -> Config:
    return config_of(dataset=dataset, data_root=None, settings=settings, config_file=file, **options)


def test_a_whole_file_gives_the_same_configuration(tmp_path):
    config = of(None, "optim.lr=0.02", "primary.width=0.5", method="fixmatch", seed=3)
    file = written(tmp_path / "config.json", to_json(config))
    assert of(file, dataset=None) == config
    assert of(str(tmp_path), dataset=None) == config  # a run's folder


def test_a_part_lies_over_the_recipe_and_options_over_the_part(tmp_path):
    file = written(tmp_path / "part.json", {"optim": {"lr": 0.02}, "method.threshold": 0.5, "seed": 7})
    config = of(file, "optim.lr=0.03")
    assert (config.optim.lr, vars(config.method)["threshold"], config.seed) == (0.03, 0.5, 7)
    assert of(file, seed=1).seed == 1
    plain = of(None)
    assert replace(of(file), seed=plain.seed, method=plain.method, optim=plain.optim) == plain


def test_another_data_set_takes_the_place_of_the_file_s(tmp_path):
    (tmp_path / "mine").mkdir()
    file = written(tmp_path / "config.json", to_json(changed(of(None), "data", root="/elsewhere")))
    config = of(file, dataset=str(tmp_path / "mine"))
    assert (config.data.dataset, config.data.root) == ("folder", str(tmp_path / "mine"))


def test_another_method_brings_its_fields(tmp_path):
    file = written(tmp_path / "part.json", {"method": {"name": "fixmatch", "threshold": 0.7}})
    config = of(file)
    assert (config.method.name, vars(config.method)["threshold"]) == ("fixmatch", 0.7)


def test_a_recipe_and_a_preset_may_come_from_the_file(tmp_path):
    (tmp_path / "mine").mkdir()
    file = written(tmp_path / "part.json", {"recipe": "table3-aux-r18"})
    assert of(file, dataset=None).auxiliary.depth == 18
    full = written(tmp_path / "full.json", {"preset": None})
    assert of(full, dataset=str(tmp_path / "mine"), device="cpu").clip.crop_size == 224
    small = written(tmp_path / "small.json", {"clip": {"start_multiple": 4}})
    assert of(small, dataset=str(tmp_path / "mine"), device="cpu").clip.crop_size == 40  # the default preset


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optim": {"lrr": 1}}, r"--config: unknown field optim.lrr; did you mean 'lr'\?"),
        ({"optm": {"lr": 1}}, r"--config: unknown field 'optm'; did you mean 'optim'\?"),
        ({"optim.lr": "fast"}, "--config: optim.lr: received 'fast'; accepted: float"),
        ({"optim": 3}, "--config: optim: received 3; accepted: an object"),
        ({"optim.lr": -1.0}, "optim.lr: received -1.0"),
        ([1], "--config: received .*, a JSON list; accepted: an object of fields"),
    ],
)
def test_what_is_refused(tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        of(written(tmp_path / "part.json", values))


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(InputError, match=r"--config: received .*none.json \(No such file.*\); accepted: a config.json"):
        read_config_file(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("lr: 3")
    with pytest.raises(InputError, match="--config: received .*text.json"):
        read_config_file(tmp_path / "text.json")


def test_nothing_given_changes_nothing():
    config = of(None)
    assert overlaid(config, {}) == config == from_json(to_json(config))
