"""Which recipe belongs to which data set."""

from collections.abc import Callable

from cmpl.config import Config
from cmpl.recipes.demo import demo
from cmpl.recipes.folder import folder
from cmpl.recipes.kinetics import k400
from cmpl.recipes.lists import lists
from cmpl.recipes.ucf101 import ucf101
from pipelines.errors import InputError, nearest

Recipe = Callable[..., Config]
"""`recipe(labeled)`; without the argument, the recipe's own share of labels."""

RECIPES: dict[str, Recipe] = {"demo": demo, "folder": folder, "k400": k400, "lists": lists, "ucf101": ucf101}


def recipe_for(dataset: str) -> Recipe:
    """The recipe of a data set's name. Raises InputError for an unknown one, naming the nearest."""
    if dataset not in RECIPES:
        raise InputError(f"--dataset: received {dataset!r}, no data set and no folder{nearest(dataset, RECIPES)}")
    return RECIPES[dataset]
