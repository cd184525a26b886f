"""A folder of one's own videos."""

import dataclasses

from cmpl.config import Config
from cmpl.recipes.ucf101 import ucf101


def folder(labeled: str = "10pct") -> Config:
    """The paper's UCF-101 setting on any folder: data sets of one's own are nearer to its size than to Kinetics'."""
    config = ucf101(labeled)
    return dataclasses.replace(config, recipe="folder", data=dataclasses.replace(config.data, dataset="folder"))
