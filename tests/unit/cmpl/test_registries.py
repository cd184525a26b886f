"""Methods and backbones by name, their settings, and configurations of plug-ins."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from cmpl import build
from cmpl.config import Config, changed, checked, differences, flattened, from_json, to_json, with_settings
from cmpl.methods.fixmatch import FixMatch
from cmpl.methods.method import Method
from cmpl.methods.settings import MethodSettings
from cmpl.recipes.demo import demo
from cmpl.registries import BACKBONES, METHODS, method_class, method_settings
from pipelines.errors import InputError
from tests.golden.make_methods import GOLDEN_METHODS, rows, switched
from tests.support.tiny import Trunk

ROOT = Path(__file__).parents[3]


def test_every_recipe_has_the_settings_of_the_golden_file():
    golden = json.loads(GOLDEN_METHODS.read_text())
    assert json.loads(json.dumps({"rows": rows(), "switched": switched()})) == golden


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_comes_from_its_settings(name):
    config = with_settings(demo(), {"method.name": name} | ({"method.teacher": "x.pth"} if name == "videossl" else {}))
    method = build.method_of(config, num_classes=3)
    assert type(method) is method_class(name)
    assert method.settings is config.method
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


def test_names_are_known_without_torch():
    code = "import sys, cmpl.config, cli.options; print([m for m in ('torch', 'nvidia.dali') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_another_method_keeps_the_fields_of_the_same_names():
    config = with_settings(demo(), {"method.threshold": "0.7", "method.name": "tcl", "method.finetune_share": "0.5"})
    assert vars(config.method) == {
        "name": "tcl",
        "threshold": 0.7,
        "unlabeled_weight": 2.0,
        "unlabeled_delay": 0.25,
        "finetune_share": 0.5,
        "finetune_weight": 1.0,
    }
    assert "method.scheme" not in flattened(config)


def test_a_field_that_the_method_lacks_names_those_that_it_has():
    with pytest.raises(
        InputError,
        match=r"--set method.threshold: supervised has no such field; accepted: method.name, method.unlabeled_weight, "
        "method.unlabeled_delay",
    ):
        with_settings(demo(), {"method.name": "supervised", "method.threshold": "0.7"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method.threshold": "1.5"}, "method.threshold: received 1.5; accepted: 0 to 1"),
        ({"method.batch_norm": "seperate"}, "method.batch_norm: received 'seperate'; did you mean 'separate'"),
        ({"method.unlabeled_weight": "-1"}, r"method.unlabeled_weight: received -1.0; accepted: 0 or more"),
        ({"method.unlabeled_delay": "2"}, r"method.unlabeled_delay: received 2.0; accepted: 0 to 1"),
        (
            {"method.name": "tcl", "method.finetune_share": "2"},
            r"method.finetune_share: received 2.0; accepted: 0 to 1",
        ),
        ({"method.name": "tcl", "method.finetune_weight": "-1"}, r"method.finetune_weight: received -1.0"),
        ({"method.name": "mvpl", "method.view_labels": "x"}, "method.view_labels: received 'x'; accepted: average, ex"),
        ({"method.name": "json:loads"}, "method.name: received 'json:loads', which is no method; accepted: a subclass"),
        ({"primary.architecture": "resnet"}, "primary.architecture: received 'resnet'; did you mean 'resnet3d'"),
        ({"primary.dropout": "2"}, r"primary.dropout: received 2.0; accepted: 0 to 1"),
    ],
)
def test_what_cannot_be_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        with_settings(demo(), settings)


def test_a_run_of_before_is_read():
    """config.json listed the fields of all methods once."""
    values = to_json(Config())
    del values["plugins"]
    values["method"] |= {"finetune_share": 0.2, "teacher": None, "flow": False, "view_labels": "average"}
    assert from_json(values) == Config()
    values["method"]["thresold"] = 1
    with pytest.raises(InputError, match=r"config.json: unknown field method.thresold; did you mean 'threshold'"):
        from_json(values)


def test_another_method_is_one_difference():
    assert differences(Config(), changed(Config(), "method", name="fixmatch")) == [
        "method.name: cmpl there, fixmatch now"
    ]


PLUGIN = '''
from dataclasses import dataclass

import cmpl
from cmpl.methods.fixmatch import FixMatch
from cmpl.methods.settings import ThreeViewSettings
from tests.support.tiny import Trunk


@cmpl.register_method("half")
class Half(FixMatch):
    """FixMatch whose unlabeled loss counts by a factor."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(ThreeViewSettings):
        factor: float = 0.5


@cmpl.register_backbone("tiny")
def tiny(network, *, num_classes):
    return Trunk()
'''


@pytest.fixture
def plugin(tmp_path, no_plugins) -> str:
    path = tmp_path / "plugin_of_halves.py"
    path.write_text(PLUGIN)
    return str(path)


def test_a_configuration_brings_its_plugins(plugin):
    config = with_settings(
        demo(), {"method.factor": "0.25", "plugins": plugin, "method.name": "half", "primary.architecture": "tiny"}
    )
    assert (type(config.method).__qualname__, config.method.factor) == ("Half.Settings", 0.25)
    method = build.method_of(config, num_classes=4)
    assert (type(method).__name__, type(method.primary)) == ("Half", Trunk)
    values = json.loads(json.dumps(to_json(config)))
    assert values["plugins"] == [plugin]
    assert values["method"]["factor"] == 0.25
    assert from_json(values) == config
    assert differences(config, Config(**vars(config) | {"plugins": ()})) == []


def test_a_run_of_a_plugin_is_read_by_a_new_process(plugin, tmp_path):
    config = with_settings(demo(), {"plugins": plugin, "method.name": "half"})
    (tmp_path / "config.json").write_text(json.dumps(to_json(config)))
    code = (
        "import json; from cmpl.config import from_json; "
        f"print(from_json(json.load(open({str(tmp_path / 'config.json')!r}))).method.factor)"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip() == "0.5"


@pytest.mark.usefixtures("no_plugins")
def test_a_missing_plugin_is_named():
    values = to_json(Config()) | {"plugins": ["/nowhere/plugin.py"]}
    with pytest.raises(InputError, match=r"--plugin: received '/nowhere/plugin.py', which cannot be imported"):
        from_json(values)


class Own(Method):
    """A method by `module:class`."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(MethodSettings):
        temperature: float = 1.0


def own_backbone(network, *, num_classes) -> nn.Module:
    return nn.Linear(3, num_classes)


class Unset(Method):
    Settings = dict


def test_module_and_name_stand_for_a_method_and_a_backbone():
    config = with_settings(demo(), {"method.name": f"{__name__}:Own", "method.temperature": "2"})
    assert method_class(config.method.name) is Own
    assert build.method_of(config, num_classes=3).settings.temperature == 2
    with pytest.raises(InputError, match=r"method.name: received '.*:Unset', without Settings of its kind"):
        method_class(f"{__name__}:Unset")
    config = checked(changed(demo(), "primary", architecture=f"{__name__}:own_backbone"))
    with pytest.raises(InputError, match="^primary.architecture=.*own_backbone: received Linear without num_features"):
        build.method_of(config, num_classes=3)


def test_a_builder_says_which_network_it_refuses():
    config = changed(demo(), "auxiliary", depth=34)
    with pytest.raises(InputError, match=r"^auxiliary.depth: received 34; accepted: 10, 18, 50"):
        build.method_of(config, num_classes=3)


def test_settings_are_a_methods_own():
    assert method_settings("fixmatch", threshold=0.5) == FixMatch.Settings(name="fixmatch", threshold=0.5)
    assert METHODS.built_in == METHODS.names()
    assert BACKBONES.built_in == ("resnet3d", "slowfast", "tsm")
