"""Which recipe belongs to which data set, and which to which row of the paper's tables."""

import re
from collections.abc import Callable

from cmpl.config import Config, changed
from cmpl.recipes import ablations, analysis, tables
from cmpl.recipes.demo import demo
from cmpl.recipes.folder import folder
from cmpl.recipes.kinetics import k400
from cmpl.recipes.lists import lists
from cmpl.recipes.presets import with_preset
from cmpl.recipes.rows import Row, by_name, rows_of
from cmpl.recipes.ucf101 import ucf101
from pipelines.errors import InputError, nearest

Recipe = Callable[..., Config]
"""`recipe(labeled)`; without the argument, the recipe's own share of labels."""

RECIPES: dict[str, Recipe] = {"demo": demo, "folder": folder, "k400": k400, "lists": lists, "ucf101": ucf101}


def recipe_for(dataset: str) -> Recipe:
    """The recipe of a data set's name; of a plug-in's data set (or `module:function`), the folder's with its name.

    Raises InputError for an unknown name, naming the nearest.
    """
    if dataset in RECIPES:
        return RECIPES[dataset]
    from pipelines.datasets.registry import DATASETS_REGISTRY  # here, since `--help` does without numpy

    known = tuple(dict.fromkeys((*RECIPES, *DATASETS_REGISTRY.names())))
    if dataset not in known and ":" not in dataset:
        short = re.sub(r"kinetics-?(400)?", "k400", dataset.lower())
        raise InputError(f"--dataset: received {dataset!r}, no data set and no folder{nearest(short, known)}")
    DATASETS_REGISTRY.get(dataset, field="--dataset")

    def recipe(*labeled: str) -> Config:
        config = folder(*labeled)
        return changed(config, "data", dataset=dataset)

    return recipe


def base_of(config: Config) -> Config:
    """The recipe that a configuration was made from, on its data set, with its preset, and nothing else changed."""
    name, labeled = config.recipe, config.data.labeled
    if name in ROWS:
        base = row_config(name, dataset=config.data.dataset, labeled=labeled)
    else:
        base = recipe_for(name if name in RECIPES else config.data.dataset)(labeled)
    return with_preset(base, config.preset)


ROWS: dict[str, Row] = by_name((*rows_of(tables, analysis), *ablations.ROWS))
"""Name -> row of a table or point of a figure, in the paper's order."""


def row_for(name: str) -> Row:
    """The row of a recipe's name. Raises InputError for an unknown one, naming those that begin so or the nearest."""
    if name not in ROWS:
        begun = [known for known in ROWS if known.startswith(f"{name.lower()}-")]
        known = f"; accepted: {', '.join(begun)}" if begun else nearest(name.lower(), ROWS)
        raise InputError(f"recipe: received {name!r}{known or '; accepted: a name that `cmpl recipes` lists'}")
    return ROWS[name]


def row_config(name: str, *, dataset: str | None = None, labeled: str | None = None) -> Config:
    """The experiment of a row on its own data set or another one; on the demo, shrunk to it.

    Without `labeled`, the row's own share on the paper's data sets and the data's elsewhere. Raises InputError.
    """
    row = row_for(name)
    dataset = dataset or row.dataset
    if dataset == "demo":
        return row.demo_config(recipe_for(row.dataset)(row.labeled), labeled=labeled)
    share = labeled or (row.labeled if dataset in ("k400", "ucf101") else None)
    recipe = recipe_for(dataset)
    return row.config(recipe(share) if share else recipe())
