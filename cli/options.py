"""Options that say which experiment: shared by the commands that build a configuration."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cmpl.config import Config, changed, with_settings
from cmpl.config_file import field_of, overlaid, read_config_file
from cmpl.recipes.presets import FULL, PRESETS, with_preset
from cmpl.recipes.registry import RECIPES, ROWS, recipe_for, row_config, row_for
from cmpl.registries import METHODS
from pipelines.errors import InputError
from pipelines.registry import plugins_in_use, use_plugins

SETTING_OF = {
    "labeled": "data.labeled",
    "split_seed": "data.split_seed",
    "scheme": "data.split_scheme",
    "val": "data.val",
    "path_column": "data.path_column",
    "label_column": "data.label_column",
    "unlabeled": "data.unlabeled",
    "unlabeled_root": "data.unlabeled_root",
    "method": "method.name",
    "seed": "seed",
    "steps": "optim.steps",
    "epochs": "optim.epochs",
    "workers": "runtime.workers",
    "device": "runtime.device",
    "compile": "runtime.compile",
    "init": "init",
}
"""Option -> the field that it sets."""

plugin_option = click.option(
    "--plugin",
    "plugins",
    metavar="MODULE",
    multiple=True,
    help="A module, or the path of a .py file, that registers methods, backbones, data sets or operations.",
)

clips_option = click.option(
    "--clips", type=click.IntRange(min=1), metavar="N", help="Clips a video, evenly spaced.  [default: the run's, 10]"
)
crops_option = click.option(
    "--crops",
    type=click.IntRange(min=1),
    metavar="N",
    help="Crops a clip along the longer side.  [default: the run's, 3]",
)
checkpoint_option = click.option("--checkpoint", type=click.Choice(("last", "best")), default="last", show_default=True)
device_option = click.option("--device", type=click.Choice(("auto", "cpu", "cuda")), default="auto", show_default=True)

COLUMN_OPTIONS = (
    click.option("--path-column", metavar="TITLE", help="Column of the paths in csv lists.  [default: path, ...]"),
    click.option("--label-column", metavar="TITLE", help="Column of the classes in them.  [default: label, ...]"),
)

_EXPERIMENT = (
    plugin_option,
    click.option(
        "--config",
        "config_file",
        metavar="FILE",
        help="Fields from a run's config.json, or a part of one; options win.",
    ),
    click.option("--dataset", metavar="NAME|FOLDER", help=f"{', '.join(RECIPES)}, or a folder's path."),
    click.option("--data-root", metavar="FOLDER", help="Where the data set lies.  [default: $CMPL_DATA]"),
    *COLUMN_OPTIONS,
    click.option(
        "--labeled", metavar="SHARE", help="Labeled videos: 1pct, 10pct, all, a number a class, or a list file."
    ),
    click.option("--split-seed", type=click.IntRange(min=0), metavar="N", help="Which labeled subset is drawn."),
    click.option(
        "--val",
        metavar="SHARE",
        help="Training videos held out for validation: 20pct, or a number a class.  [default: its own, else 20pct]",
    ),
    click.option(
        "--unlabeled", metavar="NAME|FOLDER", help="Another data set whose training videos join the unlabeled ones."
    ),
    click.option("--unlabeled-root", metavar="FOLDER", help="Where that one lies.  [default: as the data set]"),
    click.option(
        "--method", metavar="NAME", help=f"How to learn: {', '.join(METHODS.names())}.  [default: the recipe's]"
    ),
    click.option(
        "--preset",
        type=click.Choice((FULL, *PRESETS)),
        help="Smaller networks and clips.  [default: cpu for a folder without a GPU, else full]",
    ),
    click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed of initialization and sampling."),
    click.option("--device", type=click.Choice(("auto", "cpu", "cuda")), help="Where to compute."),
    click.option(
        "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Any other field, such as optim.lr=0.05."
    ),
)


def column_options(command: Callable) -> Callable:
    """Adds the options that name the columns of csv lists."""
    for option in reversed(COLUMN_OPTIONS):
        command = option(command)
    return command


def experiment_options(command: Callable) -> Callable:
    """Adds the options that `config_of` takes, all but the lengths of training."""
    for option in reversed(_EXPERIMENT):
        command = option(command)
    return command


def config_of(
    *,
    dataset: str | None,
    data_root: str | None,
    settings: tuple[str, ...],
    recipe: str | None = None,
    preset: str | None = None,
    plugins: tuple[str, ...] = (),
    config_file: str | None = None,
    **options: Any,
) -> Config:
    """The data set's recipe, or the one named, its preset, the fields of a file, the options that were given, each
    `key=value` of --set: what comes later wins.

    Plug-ins are imported first; the configuration names them, and those of CMPL_PLUGINS. `dataset` may be the path of
    a folder; with a recipe it may be left out. Raises InputError for whatever cannot be.
    """
    use_plugins(plugins)
    values = _values_of(config_file, dataset=dataset)
    if recipe is None and values.get("recipe") in ROWS:
        recipe = values["recipe"]
    if dataset is None and (known := field_of(values, "data", "dataset")) is not None:
        dataset, data_root = str(known), data_root or field_of(values, "data", "root")
    if dataset is None and recipe is not None:
        dataset = row_for(recipe).dataset
    if dataset is None:
        raise InputError(f"--dataset: received none; accepted: {', '.join(RECIPES)}, or a folder's path")
    name, root = _dataset_and_root(dataset, data_root)
    if options.get("steps") is not None and options.get("epochs") is not None:
        raise InputError("--steps and --epochs: received both; accepted: one of them")
    if options.get("labeled") and _is_list(options["labeled"]):
        options["labeled"] = os.path.abspath(options["labeled"])  # a run is evaluated from anywhere
    if options.get("unlabeled"):
        options["unlabeled"], options["unlabeled_root"] = _unlabeled_and_root(
            options["unlabeled"], options.get("unlabeled_root")
        )
    if options.get("init"):
        options["init"] = os.path.abspath(os.path.expanduser(options["init"]))
    given = {SETTING_OF[option]: str(value) for option, value in options.items() if value is not None}
    parsed = _parsed(settings)
    if "optim.epochs" in given:
        given["optim.steps"] = "none"
    if root is not None:
        given["data.root"] = root
    given |= parsed
    labeled = given.get("data.labeled", field_of(values, "data", "labeled"))
    if name == "folder" and labeled is None and _has_unlabeled(given.get("data.root")):
        given["data.labeled"] = labeled = "all"
    base = _recipe(name, recipe, None if labeled is None else str(labeled))
    if preset is None and "preset" in values:
        preset = values["preset"] or FULL
    if preset is None and name == "folder" and recipe is None and not _has_gpu(given.get("runtime.device", "auto")):
        preset = "cpu"
    config = with_settings(overlaid(with_preset(base, preset), values), given)
    config = dataclasses.replace(_with_absolute_files(config), plugins=plugins_in_use())
    if recipe and row_for(recipe).starts_from_weights and config.init is None:
        raise InputError(
            f"--init: received none, but {recipe} starts from ImageNet weights; accepted: a file of a 2D ResNet-50's "
            "weights with torchvision's names, such as resnet50-0676ba61.pth from download.pytorch.org/models"
        )
    return config


def _values_of(config_file: str | None, *, dataset: str | None) -> dict[str, Any]:
    """The fields of --config; without the data set where another one is given."""
    if config_file is None:
        return {}
    values = read_config_file(Path(config_file).expanduser())
    if dataset is not None and isinstance(values.get("data"), dict):
        values["data"] = {key: value for key, value in values["data"].items() if key not in ("dataset", "root")}
    return values


def _has_unlabeled(root: str | None) -> bool:
    """Whether a folder has unlabeled videos of its own: then all labels in it were given to be used."""
    return root is not None and any((Path(root) / name).exists() for name in ("unlabeled", "unlabeled.csv"))


def _has_gpu(device: str) -> bool:
    """Whether a GPU would compute."""
    import torch  # here, since `--help` does without it

    return device != "cpu" and torch.cuda.is_available()


def _with_absolute_files(config: Config) -> Config:
    """The files that the method's settings name, absolute: a run goes on from anywhere."""
    named = {name: getattr(config.method, name) for name in config.method.file_fields()}
    found = {name: os.path.abspath(os.path.expanduser(file)) for name, file in named.items() if file is not None}
    return changed(config, "method", **found)


def _recipe(dataset: str, recipe: str | None, labeled: str | None) -> Config:
    """A row of the paper's tables on a data set, or the data set's own recipe."""
    if recipe is not None:
        return row_config(recipe, dataset=dataset, labeled=labeled)
    return recipe_for(dataset)(labeled) if labeled else recipe_for(dataset)()


def _dataset_and_root(dataset: str, data_root: str | None) -> tuple[str, str | None]:
    """The recipe's name and the absolute folder; the demo data set alone looks past $CMPL_DATA."""
    folder = Path(dataset).expanduser()
    if dataset not in RECIPES and folder.is_dir():
        if data_root:
            raise InputError(f"--data-root: received {data_root!r}, but --dataset is a folder already; give one")
        return "folder", os.path.abspath(folder)
    if dataset not in RECIPES and os.sep in dataset and ":" not in dataset:
        raise InputError(
            f"--dataset: received {dataset!r}: no such folder; accepted: a folder, or {', '.join(RECIPES)}"
        )
    root = data_root or (os.environ.get("CMPL_DATA") if dataset != "demo" else None)
    return dataset, os.path.abspath(os.path.expanduser(root)) if root else None


def _unlabeled_and_root(unlabeled: str, root: str | None) -> tuple[str, str | None]:
    """A name and the absolute folder; a folder's path stands for the videos in it."""
    if unlabeled not in RECIPES and Path(unlabeled).expanduser().is_dir():
        if root:
            raise InputError(f"--unlabeled-root: received {root!r}, but --unlabeled is a folder already; give one")
        unlabeled, root = "folder", unlabeled
    return unlabeled, os.path.abspath(os.path.expanduser(root)) if root else None


def _is_list(labeled: str) -> bool:
    return not labeled.isdecimal() and not labeled.endswith("pct") and os.path.isfile(labeled)


def _parsed(settings: tuple[str, ...]) -> dict[str, str]:
    parsed = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set: received {setting!r}; accepted: key=value, such as optim.lr=0.05")
        parsed[key.strip()] = value.strip()
    return parsed
