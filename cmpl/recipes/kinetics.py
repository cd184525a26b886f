"""Kinetics-400 as in Sec. 4.1 of the paper."""

from cmpl.config import Config, DataConfig, changed


def k400(labeled: str = "1pct") -> Config:
    """CMPL, 3D-ResNet50 and 3D-ResNet50 x1/4, on Kinetics-400 (Table 1).

    Expected top-1: 17.6 with 1 % of labels (6 videos a class), 58.4 with 10 % (60). 16 GPUs x (2 + 10) videos, 200
    epochs; on one GPU `--set batch.accumulate=16` keeps the batch of 192.
    lambda is 5 with 1 % and 2 with 10 %.
    """
    config = Config(recipe="k400", data=DataConfig(dataset="k400", labeled=labeled))
    weight = 2.0 if labeled == "10pct" else 5.0
    return changed(config, "method", unlabeled_weight=weight)
