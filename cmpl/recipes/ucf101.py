"""UCF-101 as in Sec. 4.1 of the paper."""

import dataclasses

from cmpl.config import Config, OptimConfig
from cmpl.recipes.kinetics import k400


def ucf101(labeled: str = "1pct") -> Config:
    """CMPL on UCF-101 (Table 1): as Kinetics-400 but for a weight decay of 0.001.

    Expected top-1: 25.1 with 1 % of labels (1 video a class), 79.1 with 10 % (10).
    """
    config = k400(labeled)
    return dataclasses.replace(
        config,
        recipe="ucf101",
        data=dataclasses.replace(config.data, dataset="ucf101"),
        optim=OptimConfig(weight_decay=1e-3),
    )
