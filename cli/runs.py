"""`cmpl runs`: lists runs, what became of them and what they reached."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.argument("folder", default="runs", required=False)
@click.option("--state", metavar="NAME", help="Only those running, finished, stopped, killed, diverged or failed.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
def command(*, folder: str, state: str | None, as_json: bool) -> None:
    """List runs: state, scores and time.

    FOLDER is runs/ by default. A run is running while a process holds its lock. It is killed where no process holds it
    and nothing says how it ended: the same `cmpl train` goes on from its last checkpoint.
    """
    from cmpl.checks import one_of
    from cmpl.run_list import STATES, runs_under

    if state is not None:
        one_of("--state", state, STATES)
    found = [run for run in runs_under(Path(folder)) if state in (None, run.state)]
    if as_json:
        click.echo(json.dumps([asdict(run) for run in found], indent=1))
        return
    from rich.table import Table

    from cli.display import console_of, duration, percent, say
    from pipelines.printable import printable

    console = console_of()
    if not found:
        say(console, f"{folder}: no runs" + (f" that are {state}" if state else ""))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("run", overflow="fold", min_width=12)
    for title in ("state", "method", "data"):
        table.add_column(title, no_wrap=title != "data")
    for title in ("step", "top-1", "aux.", "best val.", "time", "written"):
        table.add_column(title, justify="right", no_wrap=True)
    for run in found:
        top1 = [f"{100 * run.top1[name]:.1f} %" if name in run.top1 else "-" for name in ("primary", "auxiliary")]
        table.add_row(
            printable(run.path),
            run.state,
            run.method,
            printable(f"{run.dataset} {run.labeled} s{run.seed}"),
            f"{run.step} of {run.num_steps}" if run.num_steps else str(run.step),
            *top1,
            percent(run.best_val_top1) if run.best_val_top1 is not None else "-",
            duration(run.train_seconds) if run.train_seconds is not None else "-",
            time.strftime("%m-%d %H:%M", time.localtime(run.written)),
        )
    console.print(table)
    for run in found:
        if run.detail:
            say(console, f"{run.path}: {run.state}: {run.detail}")
