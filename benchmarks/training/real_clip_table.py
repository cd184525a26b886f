"""Means and paired differences of runs on real clips: each method less the labels alone, on the same videos."""

from collections.abc import Sequence
from typing import Any

from cmpl.subsets import spread

Row = dict[str, Any]  # ready for JSON


def paired(rows: Sequence[Row]) -> list[Row]:
    """One entry for each (recipe, method), over all sets and labels ("all") and for each of them.

    difference: mean of top-1 less that of the supervised run of the same set, labels and subset; standard_error of
    that mean (None for one value); each: {"set labels subset": difference}. Runs without such a supervised one are
    left out.
    """
    alone = {_cell(row): row["primary"]["top1"] for row in rows if row["method"] == "supervised"}
    compared = [row for row in rows if row["method"] != "supervised" and _cell(row) in alone]
    arms = list(dict.fromkeys((row["recipe"], row["method"]) for row in compared))
    found = []
    for recipe, method in arms:
        own = [row for row in compared if (row["recipe"], row["method"]) == (recipe, method)]
        places = list(dict.fromkeys((row["dataset"], row["labeled"]) for row in own))
        groups = {f"{dataset} {labeled}": (dataset, labeled) for dataset, labeled in places}
        for name, place in {"all": None, **groups}.items():
            inside = [row for row in own if place in (None, (row["dataset"], row["labeled"]))]
            found.append({"recipe": recipe, "method": method, "where": name, **_difference(inside, alone)})
    return found


def _difference(rows: Sequence[Row], alone: dict[tuple[str, ...], float]) -> Row:
    values = {" ".join(_cell(row)): row["primary"]["top1"] - alone[_cell(row)] for row in rows}
    differences = spread(list(values.values()))
    return {
        "supervised": spread([alone[_cell(row)] for row in rows])["mean"],
        "top1": spread([row["primary"]["top1"] for row in rows])["mean"],
        "difference": differences["mean"],
        "standard_error": differences["standard_error"],
        "each": {name: round(value, 4) for name, value in values.items()},
    }


def _cell(row: Row) -> tuple[str, ...]:
    """What a run shares with those it is compared with: set, labeled videos a class, subset."""
    return str(row["dataset"]), str(row["labeled"]), str(row["subset"])


def lines(entries: Sequence[Row]) -> list[str]:
    """The entries as lines for a terminal."""
    return [
        f"{entry['recipe']:>10} {entry['method']:>9} {entry['where']:>16}: {entry['supervised']:.3f} -> "
        f"{entry['top1']:.3f}  {entry['difference']:+.3f}"
        + ("" if entry["standard_error"] is None else f" (SE {entry['standard_error']:.3f})")
        + f"  of {len(entry['each'])}"
        for entry in entries
    ]
