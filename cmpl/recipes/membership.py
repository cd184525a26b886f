"""Tells if a run is of a row of the paper's tables, and which settings it has changed beside the row's recipe."""

import dataclasses

from cmpl.config import Config, differences
from cmpl.recipes.registry import row_config
from cmpl.recipes.rows import Row


def belongs(config: Config, row: Row) -> bool:
    """Whether a run is of a row: by the recipe's name, or by the same settings on the same data, whatever the seeds,
    the place of the files, the machine and the number of passes a step."""
    if config.recipe == row.name:
        return True
    return config.data.dataset in ("k400", "ucf101") and not changed_settings(config, row)


def changed_settings(config: Config, row: Row) -> list[str]:
    """The fields in which a run differs from the row's recipe on the same data."""
    wanted = row_config(row.name, dataset=config.data.dataset, labeled=config.data.labeled)
    return [line.split(":")[0] for line in differences(_comparable(wanted), _comparable(config))]


def _comparable(config: Config) -> Config:
    plain = Config()
    return dataclasses.replace(
        config,
        recipe=plain.recipe,
        seed=plain.seed,
        init=plain.init if config.init is None else "given",
        method=config.method.taking(dict.fromkeys(config.method.file_fields())),
        runtime=plain.runtime,
        data=dataclasses.replace(config.data, root=None, split_seed=0, unlabeled_root=None),
        batch=dataclasses.replace(config.batch, accumulate=1),
    )
