"""Finished runs set beside a table of the paper, as values and as text for a document."""

import csv
import dataclasses
import io
import statistics
from collections.abc import Sequence
from pathlib import Path

from cmpl.config import Config
from cmpl.recipes.membership import belongs, changed_settings
from cmpl.recipes.registry import ROWS
from cmpl.recipes.rows import TABLES, Row
from pipelines.errors import InputError, nearest

FORMATS = ("markdown", "latex", "csv")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A finished run: its configuration, top-1 and top-5 in percent."""

    path: str
    config: Config
    top1: float
    top5: float

    @property
    def data(self) -> tuple[str, str]:
        return self.config.data.dataset, self.config.data.labeled


def table_name(text: str) -> str:
    """A table's name as written in the paper. Raises InputError for an unknown one, naming the nearest."""
    plain = {key.lower().replace(". ", ""): key for key in TABLES}
    key = text.lower().removeprefix("table").strip(" -").replace(". ", "").replace(" ", "")
    if key not in plain:
        raise InputError(f"table: received {text!r}{nearest(key, plain)}")
    return plain[key]


def read_runs(path: str) -> list[Measured]:
    """The run in a folder, or each of the labeled subsets that `cmpl train --subsets` left there."""
    if not (Path(path) / "subsets.json").is_file():
        return [read_run(path)]
    return [read_run(str(run)) for run in sorted(Path(path).glob("subset-*"))]


def read_run(path: str) -> Measured:
    """A finished run's figures. Raises InputError where there is no run, or no result yet."""
    from cmpl.training.run_directory import RunDirectory

    run = RunDirectory(Path(path))
    result = run.result()
    if result is None:
        raise InputError(f"{path}: holds no result.json; accepted: folders of finished runs")
    figures = {name: 100 * result["primary"][name] for name in ("top1", "top5")}
    return Measured(path=path, config=run.config(), **figures)


def compare(table: str, runs: list[Measured]) -> tuple[list[dict], list[str]]:
    """(a line for each row and data that there is a figure or a run of, runs that belong to no row)."""
    lines, placed = [], set()
    for row in (row for row in ROWS.values() if row.table == table):
        mine = [run for run in runs if belongs(run.config, row)]
        placed |= {run.path for run in mine}
        printed = list(row.expected) or [(row.dataset, row.labeled)]
        for data in dict.fromkeys([*printed, *(run.data for run in mine)]):
            lines.append(line_of(row, data, [run for run in mine if run.data == data]))
    return lines, [run.path for run in runs if run.path not in placed]


def line_of(row: Row, data: tuple[str, str], runs: list[Measured]) -> dict:
    """A row's figures on one data set and share of labels: the paper's, and the mean of these runs."""
    top1 = [run.top1 for run in runs]
    return {
        "recipe": row.name,
        "row": row.label,
        "dataset": data[0],
        "labeled": data[1],
        "paper_top1": row.expected.get(data),
        "measured_top1": round(statistics.mean(top1), 2) if top1 else None,
        "deviation": round(statistics.stdev(top1), 2) if len(top1) > 1 else None,
        "paper_top5": row.top5 if data == (row.dataset, row.labeled) else None,
        "measured_top5": round(statistics.mean(run.top5 for run in runs), 2) if runs else None,
        "num_runs": len(runs),
        "changed": sorted({key for run in runs for key in changed_settings(run.config, row)}),
    }


def as_text(table: str, lines: Sequence[dict], *, form: str) -> str:
    """The table in one of FORMATS, without a line end at its end. Top-1 in percent, ± the standard deviation over runs.

    `lines` are those of `compare`. csv has full figures in columns of their own. LaTeX is a tabular for booktabs.
    """
    if form == "csv":
        text = io.StringIO()
        names = [key for key in lines[0] if key != "changed"] if lines else []
        writer = csv.DictWriter(text, [*names, "changed"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**line, "changed": " ".join(line["changed"])} for line in lines)
        return text.getvalue().rstrip("\n")
    cells = cells_of(lines)
    return (_latex if form == "latex" else _markdown)(title_of(table), cells)


def title_of(table: str) -> str:
    """`Table 3`, `Fig. 4`."""
    return table if table.startswith("Fig") else f"Table {table}"


def cells_of(lines: Sequence[dict]) -> list[list[str]]:
    """The rows as a reader sees them, the titles first; top-5 where the paper prints it."""
    with_top5 = any(line["paper_top5"] is not None for line in lines)
    titles = ["row", "data", "paper", "measured", *(("paper, top-5", "measured, top-5") if with_top5 else ()), "runs"]
    cells = [titles]
    for line in lines:
        top5 = [figure(line["paper_top5"]), figure(line["measured_top5"])] if with_top5 else []
        cells.append(
            [
                line["row"],
                f"{line['dataset']} {Path(line['labeled']).name}",
                figure(line["paper_top1"]),
                measured(line),
                *top5,
                str(line["num_runs"] or "-"),
            ]
        )
    return cells


def measured(line: dict) -> str:
    """`12.90 ± 0.31`: the mean of a line's runs, and their standard deviation where there are several."""
    return figure(line["measured_top1"]) + (f" ± {line['deviation']:.2f}" if line["deviation"] is not None else "")


def figure(value: float | None) -> str:
    """A percentage, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def _markdown(title: str, cells: list[list[str]]) -> str:
    titles, *rows = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    align = ["---", "---", *["---:"] * (len(titles) - 2)]
    return "\n".join([f"{title}, top-1 in percent", "", *(f"| {' | '.join(row)} |" for row in (titles, align, *rows))])


_ESCAPES = str.maketrans(
    {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "±": r"$\pm$", "~": r"\textasciitilde{}"}
    | {"{": r"\{", "}": r"\}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def _latex(title: str, cells: list[list[str]]) -> str:
    titles, *rows = [" & ".join(cell.translate(_ESCAPES) for cell in row) + r" \\" for row in cells]
    columns = "ll" + "r" * (len(cells[0]) - 2)
    return "\n".join(
        [
            f"% {title}, top-1 in percent; needs \\usepackage{{booktabs}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            titles,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )
