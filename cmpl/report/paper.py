"""Runs beside the paper's figures: which row of its tables a run is of, and what the paper has there."""

from dataclasses import dataclass

from cmpl.config import Config
from cmpl.recipes.membership import belongs, changed_settings
from cmpl.recipes.registry import ROWS


@dataclass(frozen=True, kw_only=True)
class Printed:
    """The paper's row for a run. `top1` is in percent: of the run's data, else of the row's own; None without any."""

    recipe: str
    table: str
    label: str
    top1: float | None
    data: tuple[str, str]  # that `top1` is of: data set, share of labels
    is_of_run: bool  # whether these are the run's
    changed: tuple[str, ...]  # settings in which the run differs from the recipe


def printed_for(config: Config) -> Printed | None:
    """The paper's row that a run is of, one with a figure first; None where it is of none."""
    rows = [row for row in ROWS.values() if belongs(config, row)]
    if not rows:
        return None
    data = (config.data.dataset, config.data.labeled)
    row = next((row for row in rows if data in row.expected), rows[0])
    own = (row.dataset, row.labeled)
    return Printed(
        recipe=row.name,
        table=row.table if row.table.startswith("Fig") else f"Table {row.table}",
        label=row.label,
        top1=row.expected.get(data, row.expected.get(own)),
        data=data if data in row.expected else own,
        is_of_run=data in row.expected,
        changed=tuple(changed_settings(config, row)),
    )
