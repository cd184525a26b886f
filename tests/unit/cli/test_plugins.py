"""`--plugin`: a method, a backbone and a data set of one's own, through the commands and back from a run."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cmpl
from cli.main import main
from pipelines.registry import PLUGINS_VARIABLE, plugins_in_use


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


PLUGIN = '''
from dataclasses import dataclass

import cmpl
import pipelines
from cmpl.methods.supervised import Supervised
from pipelines.datasets.folder import read_folder


@cmpl.register_method("smoothed")
class Smoothed(Supervised):
    """Labeled videos alone."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(cmpl.MethodSettings):
        smoothing: float = 0.1


@cmpl.register_backbone("small3d")
def small3d(network, *, num_classes):
    from cmpl.models.resnet3d import ResNet3D

    return ResNet3D(depth=10, width=1 / 16, num_classes=num_classes, dropout=network.dropout)


@pipelines.register_dataset("beside")
def beside(root, options):
    return read_folder(root)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch, no_plugins) -> Path:
    path = tmp_path / "plugin_of_smoothing.py"
    path.write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    return path


def test_a_run_of_plugins_is_trained_and_evaluated(plugin, small_folder, monkeypatch):
    small = (
        "batch.labeled=2", "evaluation.clips=1",
        "clip.primary=4x4", "clip.crop_size=28", "clip.short_side=32", "clip.short_side_jitter=32,40",
        "evaluation.short_side=32", "evaluation.crops=1", "runtime.torch_threads=1",
    )  # fmt: skip
    words = ["--labeled", "1", "--device", "cpu", *(word for setting in small for word in ("--set", setting))]
    own = ["--plugin", "plugin_of_smoothing.py", "--dataset", "beside", "--data-root", small_folder]
    own += ["--method", "smoothed", "--set", "method.smoothing=0.2", "--set", "primary.architecture=small3d"]
    trained = call("train", *own, *words, "--steps", "1", "--workers", "0", "--out", "run")
    assert trained.exit_code == 0, trained.output
    compare = next(line for line in trained.output.splitlines() if line.strip().startswith("compare"))
    assert compare.endswith("--method cmpl")
    assert "--plugin plugin_of_smoothing.py" in compare
    assert "method.smoothing" not in compare  # which the other method lacks
    values = json.loads(Path("run/config.json").read_text())
    assert values["plugins"] == [str(plugin)]
    assert (values["method"]["name"], values["method"]["smoothing"]) == ("smoothed", 0.2)

    os.environ.pop(PLUGINS_VARIABLE)
    del sys.modules["plugin_of_smoothing"]
    monkeypatch.chdir("/")
    network = cmpl.load_run(plugin.parent / "run").networks["primary"]
    assert network.num_features == 32
    evaluated = call("eval", plugin.parent / "run", "--device", "cpu", "--json")
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads(evaluated.stdout)["num_evaluated"] > 0
    assert plugins_in_use() == (str(plugin),)


@pytest.mark.parametrize(
    "command", ["train", "eval", "split", "prepare", "table", "models", "show-batch", "bench-loader"]
)
def test_commands_take_plugins(command):
    assert "--plugin MODULE" in " ".join(call(command, "--help").output.split())


def test_a_plugins_data_set_is_split(plugin, small_folder):
    words = ["--plugin", plugin, "--dataset", "beside", "--data-root", small_folder, "--labeled", "1", "--json"]
    done = call("split", *words, "--out", "list.csv")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["file"] == "list.csv"


def test_a_missing_plugin_is_named(plugin, small_folder):
    result = call("train", "--plugin", "no_such_plugin", "--dataset", small_folder)
    assert result.exit_code == 2
    assert "--plugin: received 'no_such_plugin', which cannot be imported" in " ".join(result.output.split())


def test_backbones_of_plugins_are_listed(plugin):
    listed = json.loads(call("models", "--plugin", plugin, "--json", "--num-classes", "5").stdout)
    assert listed[-1]["architecture"] == "small3d"
    assert listed[-1]["num_parameters"] > 10_000
    assert "small3d" in call("models").stdout


def test_the_help_of_train_names_the_methods():
    from cmpl.registries import METHODS

    text = " ".join(call("train", "--help").output.split())
    assert ", ".join(METHODS.names()) in text
    assert "--plugin MODULE" in text


def test_an_unknown_method_gets_the_nearest(small_folder):
    result = call("train", "--dataset", small_folder, "--method", "fixmtch")
    assert result.exit_code == 2
    assert "method.name: received 'fixmtch'; did you mean 'fixmatch'?" in result.output
