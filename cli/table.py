"""`cmpl table`."""

import dataclasses
import json
import statistics
from pathlib import Path

import click

from cmpl.config import Config, differences
from cmpl.recipes.registry import ROWS, row_config
from cmpl.recipes.rows import TABLES, Row
from pipelines.errors import InputError, nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A finished run: its configuration and top-1 in per cent."""

    path: str
    config: Config
    top1: float


@click.command()
@click.argument("table")
@click.argument("runs", nargs=-1, metavar="[RUNS]...")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
def command(*, table: str, runs: tuple[str, ...], as_json: bool) -> None:
    """Set measured results beside a table of the paper.

    TABLE is 1 to 6, A1, A2, A3 or fig4; RUNS are folders of finished runs. A run belongs to a row if it was made by its
    recipe or has its settings; several runs of a row and data, such as the three splits, are averaged.

    \b
      cmpl table 2
      cmpl table 3 runs/table3-*
    """
    name = table_name(table)
    measured = [read_run(path) for path in runs]
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


def read_run(path: str) -> Measured:
    """A finished run's figures. Raises InputError where there is no run, or no result yet."""
    from cmpl.training.run_directory import RunDirectory

    run = RunDirectory(Path(path))
    result = run.result()
    if result is None:
        raise InputError(f"{path}: holds no result.json; accepted: folders of finished runs")
    return Measured(path=path, config=run.config(), top1=100 * result["primary"]["top1"])


def compare(table: str, runs: list[Measured]) -> tuple[list[dict], list[str]]:
    """(a line for each row and data that there is a figure or a run of, runs that belong to no row)."""
    lines, placed = [], set()
    for row in (row for row in ROWS.values() if row.table == table):
        mine = [run for run in runs if belongs(run.config, row)]
        placed |= {run.path for run in mine}
        data_of = {run.path: (run.config.data.dataset, run.config.data.labeled) for run in mine}
        printed = list(row.expected) or [(row.dataset, row.labeled)]
        for data in dict.fromkeys([*printed, *data_of.values()]):
            top1 = [run.top1 for run in mine if data_of[run.path] == data]
            lines.append(
                {
                    "recipe": row.name,
                    "row": row.label,
                    "dataset": data[0],
                    "labeled": data[1],
                    "paper_top1": row.expected.get(data),
                    "measured_top1": round(statistics.mean(top1), 2) if top1 else None,
                    "deviation": round(statistics.stdev(top1), 2) if len(top1) > 1 else None,
                    "num_runs": len(top1),
                }
            )
    return lines, [run.path for run in runs if run.path not in placed]


def belongs(config: Config, row: Row) -> bool:
    """Whether a run is of a row: by the recipe's name, or by the same settings on the same data, whatever the seeds,
    the place of the files, the machine and the number of passes a step."""
    if config.recipe == row.name:
        return True
    if config.data.dataset not in ("k400", "ucf101"):
        return False
    wanted = row_config(row.name, dataset=config.data.dataset, labeled=config.data.labeled)
    return not differences(_comparable(wanted), _comparable(config))


def _comparable(config: Config) -> Config:
    plain = Config()
    return dataclasses.replace(
        config,
        recipe=plain.recipe,
        seed=plain.seed,
        init=plain.init if config.init is None else "given",
        runtime=plain.runtime,
        data=dataclasses.replace(config.data, root=None, split_seed=0, unlabeled_root=None),
        batch=dataclasses.replace(config.batch, accumulate=1),
    )


def show(table: str, lines: list[dict], strangers: list[str]) -> None:
    """The table on a terminal."""
    from rich.table import Table

    from cli.display import console_of, say

    title = table if table.startswith("Fig") else f"Table {table}"
    drawn = Table(box=None, pad_edge=False, title=title, title_justify="left")
    drawn.add_column("recipe", no_wrap=True)
    drawn.add_column("row")
    drawn.add_column("data")
    for title in ("paper", "measured", "runs"):
        drawn.add_column(title, justify="right")
    for line in lines:
        measured = "-" if line["measured_top1"] is None else f"{line['measured_top1']:.2f}"
        measured += f" ± {line['deviation']:.2f}" if line["deviation"] is not None else ""
        paper = "-" if line["paper_top1"] is None else f"{line['paper_top1']:.2f}"
        data = f"{line['dataset']} {line['labeled']}"
        drawn.add_row(line["recipe"], line["row"], data, paper, measured, str(line["num_runs"] or "-"))
    console = console_of()
    console.print(drawn)
    say(console, "Top-1 in per cent, of the primary network; ± is the standard deviation over runs.")
    if strangers:
        say(console, f"Of no row of this table: {', '.join(strangers)}")
