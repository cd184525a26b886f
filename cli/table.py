"""`cmpl table`: sets runs beside a table of the paper."""

import dataclasses
import json
import statistics
from pathlib import Path

import click

from cli.options import plugin_option
from cmpl.config import Config
from cmpl.recipes.membership import belongs, changed_settings
from cmpl.recipes.registry import ROWS
from cmpl.recipes.rows import TABLES, Row
from pipelines.errors import InputError, nearest
from pipelines.registry import use_plugins


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


@click.command()
@click.argument("table")
@click.argument("runs", nargs=-1, metavar="[RUNS]...")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
def command(*, table: str, runs: tuple[str, ...], plugins: tuple[str, ...], as_json: bool) -> None:
    """Set measured results beside a table of the paper.

    TABLE is 1 to 6, A1, A2, A3 or fig4; RUNS are folders of finished runs, or of several subsets. A run belongs to a
    row if it was made by its recipe or has its settings; several runs of a row and data, such as the three splits, are
    averaged. Settings that were changed beside the recipe are named.

    \b
      cmpl table 2
      cmpl table 3 runs/table3-*
    """
    use_plugins(plugins)
    name = table_name(table)
    measured = [run for path in runs for run in read_runs(path)]
    lines, strangers = compare(name, measured)
    if as_json:
        click.echo(json.dumps({"table": name, "rows": lines, "elsewhere": strangers}, indent=1))
        return
    show(name, lines, strangers)


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


def show(table: str, lines: list[dict], strangers: list[str]) -> None:
    """The table on a terminal."""
    from rich.table import Table

    from cli.display import console_of, say

    title = table if table.startswith("Fig") else f"Table {table}"
    drawn = Table(box=None, pad_edge=False, title=title, title_justify="left")
    drawn.add_column("recipe", no_wrap=True)
    drawn.add_column("row", overflow="fold", min_width=8)
    drawn.add_column("data", overflow="fold")
    with_top5 = any(line["paper_top5"] is not None for line in lines)
    for title in ("paper", "measured", *(("paper,\ntop-5", "here,\ntop-5") if with_top5 else ()), "runs"):
        drawn.add_column(title, justify="right", no_wrap=True)
    for line in lines:
        measured = _figure(line["measured_top1"])
        measured += f" ± {line['deviation']:.2f}" if line["deviation"] is not None else ""
        top5 = [_figure(line["paper_top5"]), _figure(line["measured_top5"])] if with_top5 else []
        data = f"{line['dataset']} {Path(line['labeled']).name}"
        figures = [_figure(line["paper_top1"]), measured, *top5, str(line["num_runs"] or "-")]
        drawn.add_row(line["recipe"], line["row"], data, *figures)
    console = console_of()
    console.print(drawn)
    say(console, "Top-1 in percent, of the primary network; ± is the standard deviation over runs.")
    for line in (line for line in lines if line["changed"]):
        where = f"{line['recipe']} on {line['dataset']} {line['labeled']}"
        say(console, f"{where} is not as the recipe has it: {', '.join(line['changed'])}")
    if strangers:
        say(console, f"Runs that belong to no row of this table: {', '.join(strangers)}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
