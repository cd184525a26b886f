"""A data set in the lists of PySlowFast or MMAction2."""

import dataclasses

from cmpl.config import Config
from cmpl.recipes.kinetics import k400


def lists(labeled: str = "1pct") -> Config:
    """The paper's Kinetics setting (Sec. 4.1): such lists mostly are of Kinetics. Shares are percent of each class."""
    config = k400(labeled)
    return dataclasses.replace(config, recipe="lists", data=dataclasses.replace(config.data, dataset="lists"))
