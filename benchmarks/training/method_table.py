"""Prints the record of the method check as the tables of benchmarks/results/method_check.md.

python -m benchmarks.training.method_table benchmarks/results/method_check_cpu.json
"""

import json
from pathlib import Path
from typing import Any

import click

Record = dict[str, Any]
Row = dict[str, Any]


def tables(record: Record) -> str:
    """Top-1 by arm and subset, paired differences of two subsets and more, pseudo-labels at the end."""
    return "\n\n".join([by_subset(record), paired(record), pseudo_labels(record)]) + "\n"


def by_subset(record: Record) -> str:
    """A line an arm, a column a subset."""
    subsets = sorted({row["subset"] for row in record["rows"]})
    lines = [["arm@steps", *(f"subset {subset}" for subset in subsets), "mean (standard error)"]]
    for arm, found in record["arms"].items():
        values = [found["by_subset"].get(str(subset)) for subset in subsets]
        lines.append([f"`{arm}`", *map(shown, values), with_error(found)])
    return table(lines)


def paired(record: Record) -> str:
    """A line a difference, over the subsets that both arms have; those of one subset are left out."""
    lines = [["difference", "mean (standard error)", "subsets"]]
    for name, found in record["paired"].items():
        if found["num"] > 1:
            lines.append([name, with_error(found, sign=True), ", ".join(found["by_subset"])])
    return table(lines)


def pseudo_labels(record: Record) -> str:
    """A line an arm: the share of videos with a pseudo-label and the share of right ones, means over subsets."""
    lines = [["arm@steps", "share of videos", "right among them", "worst class, lowest of all subsets"]]
    for arm in record["arms"]:
        rows = [row for row in record["rows"] if row["arm"] == arm]
        labels = [row["pseudo_labels"] for row in rows if row["pseudo_labels"]]
        share, right = (mean([label[key] for label in labels]) for key in ("share", "right_among_them"))
        lines.append([f"`{arm}`", shown(share), shown(right), shown(min(row["worst_class_top1"] for row in rows))])
    return table(lines)


def mean(values: list[float | None]) -> float | None:
    """The mean of the values that there are, or None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def shown(value: float | None, *, sign: bool = False) -> str:
    """0.812 as .812; - for none."""
    if value is None:
        return "-"
    return f"{value:{'+' if sign else ''}.3f}".replace("0.", ".", 1)


def with_error(found: Row, *, sign: bool = False) -> str:
    """.812 (.021); without the error where there is one value."""
    error = found["standard_error"]
    return shown(found["mean"], sign=sign) + (f" ({shown(error)})" if error is not None else "")


def table(lines: list[list[str]]) -> str:
    """Cells as Markdown; the first line is the head."""
    head, *rows = lines
    ruled = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in ruled)


@click.command()
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(record: Path) -> None:
    """Print the tables of a record of the method check."""
    click.echo(tables(json.loads(record.read_text())), nl=False)


if __name__ == "__main__":
    main()
