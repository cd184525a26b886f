"""`cmpl table`: sets runs beside a table of the paper."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from cli.options import plugin_option
from pipelines.registry import use_plugins


@click.command()
@click.argument("table")
@click.argument("runs", nargs=-1, metavar="[RUNS]...")
@plugin_option
@click.option("--format", "form", metavar="NAME", help="As text for a document: markdown, latex or csv.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
def command(*, table: str, runs: tuple[str, ...], plugins: tuple[str, ...], form: str | None, as_json: bool) -> None:
    """Set measured results beside a table of the paper.

    TABLE is 1 to 6, A1, A2, A3 or fig4; RUNS are folders of finished runs, or of several subsets. A run belongs to a
    row if it was made by its recipe or has its settings; several runs of a row and data, such as the three splits, are
    averaged. Settings that were changed beside the recipe are named.

    \b
      cmpl table 2
      cmpl table 3 runs/table3-*
      cmpl table 3 runs/table3-* --format latex
    """
    use_plugins(plugins)
    from cmpl.checks import one_of
    from cmpl.recipes.measured import FORMATS, as_text, compare, read_runs, table_name

    if form is not None:
        one_of("--format", form, FORMATS)
    name = table_name(table)
    lines, strangers = compare(name, [run for path in runs for run in read_runs(path)])
    if as_json:
        click.echo(json.dumps({"table": name, "rows": lines, "elsewhere": strangers}, indent=1))
    elif form is not None:
        click.echo(as_text(name, lines, form=form))
        if strangers:
            click.echo(f"Runs that belong to no row of this table: {', '.join(strangers)}", err=True)
    else:
        show(name, lines, strangers)


def show(table: str, lines: Sequence[dict], strangers: Sequence[str]) -> None:
    """The table on a terminal."""
    from rich.table import Table

    from cli.display import console_of, say
    from cmpl.recipes.measured import figure, measured, title_of

    drawn = Table(box=None, pad_edge=False, title=title_of(table), title_justify="left")
    drawn.add_column("recipe", no_wrap=True)
    drawn.add_column("row", overflow="fold", min_width=8)
    drawn.add_column("data", overflow="fold")
    with_top5 = any(line["paper_top5"] is not None for line in lines)
    for title in ("paper", "measured", *(("paper,\ntop-5", "here,\ntop-5") if with_top5 else ()), "runs"):
        drawn.add_column(title, justify="right", no_wrap=True)
    for line in lines:
        top5 = [figure(line["paper_top5"]), figure(line["measured_top5"])] if with_top5 else []
        data = f"{line['dataset']} {Path(line['labeled']).name}"
        figures = [figure(line["paper_top1"]), measured(line), *top5, str(line["num_runs"] or "-")]
        drawn.add_row(line["recipe"], line["row"], data, *figures)
    console = console_of()
    console.print(drawn)
    say(console, "Top-1 in percent, of the primary network; ± is the standard deviation over runs.")
    for line in (line for line in lines if line["changed"]):
        where = f"{line['recipe']} on {line['dataset']} {line['labeled']}"
        say(console, f"{where} is not as the recipe has it: {', '.join(line['changed'])}")
    if strangers:
        say(console, f"Runs that belong to no row of this table: {', '.join(strangers)}")
