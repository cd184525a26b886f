"""Means and paired differences of runs on real clips: each method less the labels alone, on the same videos."""

from collections.abc import Callable, Sequence
from typing import Any

from cmpl.subsets import spread

Row = dict[str, Any]  # ready for JSON


def paired(rows: Sequence[Row], *, alone: Callable[[str], str]) -> list[Row]:
    """One entry for each (recipe, method), over all sets and labels ("all") and for each of them.

    alone: recipe -> the recipe of the supervised runs that it is compared with. difference: mean of top-1 less that of
    the supervised run on the same set, labels and subset; standard_error of that mean (None for one value); each:
    {"set labels subset": difference}. Runs without such a supervised one are left out.
    """
    supervised = {(row["recipe"], *_cell(row)): row["primary"]["top1"] for row in rows if row["method"] == "supervised"}
    compared = [row for row in rows if row["method"] != "supervised"]
    pairs = [(row, supervised.get((alone(row["recipe"]), *_cell(row)))) for row in compared]
    known = [(row, top1) for row, top1 in pairs if top1 is not None]
    found = []
    for recipe, method in dict.fromkeys((row["recipe"], row["method"]) for row, _ in known):
        own = [pair for pair in known if (pair[0]["recipe"], pair[0]["method"]) == (recipe, method)]
        found.append({"recipe": recipe, "method": method, "where": "all", **_difference(own)})
        for place in dict.fromkeys((row["dataset"], row["labeled"]) for row, _ in own):
            inside = [pair for pair in own if (pair[0]["dataset"], pair[0]["labeled"]) == place]
            found.append({"recipe": recipe, "method": method, "where": " ".join(place), **_difference(inside)})
    return found


def _difference(pairs: Sequence[tuple[Row, float]]) -> Row:
    values = {" ".join(_cell(row)): row["primary"]["top1"] - alone for row, alone in pairs}
    differences = spread(list(values.values()))
    return {
        "supervised": spread([alone for _, alone in pairs])["mean"],
        "top1": spread([row["primary"]["top1"] for row, _ in pairs])["mean"],
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
