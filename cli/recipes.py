"""`cmpl recipes`."""

import json

import click

from cmpl.config import Config, flattened
from cmpl.recipes.registry import ROWS, row_config, row_for
from cmpl.recipes.rows import Row

NOT_SHOWN = ("recipe",)
FIGURE = {"k400": "Kinetics-400", "ucf101": "UCF-101"}


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
def command(*, name: str | None, as_json: bool) -> None:
    """List the paper's experiments, or show what one changes.

    Without NAME: every row of Tables 1 to 6 and A1 to A3 and every point of Fig. 4, with the paper's top-1 and the
    training's cost. With NAME: that recipe's settings where they differ from the defaults.

    \b
      cmpl recipes
      cmpl recipes table3-aux-r18
      cmpl train --recipe table3-aux-r18 --dataset demo
    """
    rows = list(ROWS.values()) if name is None else [row_for(name)]
    facts = [facts_of(row) for row in rows]
    if name is not None:
        facts[0]["changes"] = changes(row_config(name))
    if as_json:
        click.echo(json.dumps(facts if name is None else facts[0], indent=1))
        return
    if name is None:
        show_all(facts)
    else:
        show_one(facts[0])


def facts_of(row: Row) -> dict:
    """What is known of a row before it is run."""
    from cmpl.recipes.cost import gpu_hours

    hours = gpu_hours(row_config(row.name))
    return {
        "name": row.name,
        "table": row.table,
        "row": row.label,
        "about": row.about,
        "dataset": row.dataset,
        "labeled": row.labeled,
        "top1": row.top1,
        "expected": {f"{dataset} {labeled}": top1 for (dataset, labeled), top1 in row.expected.items()},
        "gpu_hours": None if hours is None else float(f"{hours:.3g}"),
    }


def changes(config: Config) -> dict[str, tuple]:
    """Field -> (default, here), for every field that differs from the defaults, CMPL's main setting."""
    before, now = flattened(Config()), flattened(config)
    return {key: (before[key], now[key]) for key in now if now[key] != before[key] and key not in NOT_SHOWN}


def cost_note() -> str:
    """How the hours came about."""
    from cmpl.recipes.cost import SUSTAINED_TFLOPS

    return (
        f"GPU-hours are an estimate: multiply-adds of all steps at {SUSTAINED_TFLOPS:.0f} TFLOP/s a GPU, as an H100 "
        "did in CMPL's step before anything was compiled; decoding and evaluation left out."
    )


def show_all(facts: list[dict]) -> None:
    """One line a recipe."""
    from rich.table import Table

    from cli.display import console_of, say

    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    for title in ("table", "row", "data"):
        table.add_column(title, overflow="fold")
    for title in ("paper's\ntop-1", "GPU-\nhours"):
        table.add_column(title, justify="right")
    for fact in facts:
        table.add_row(
            fact["name"],
            fact["table"],
            fact["row"],
            f"{fact['dataset']} {fact['labeled']}",
            "-" if fact["top1"] is None else f"{fact['top1']:.2f}".rstrip("0").rstrip("."),
            "-" if fact["gpu_hours"] is None else f"{fact['gpu_hours']:.3g}",
        )
    console = console_of()
    console.print(table)
    say(console, cost_note())
    say(console, "Run one: cmpl train --recipe NAME --data-root FOLDER; on any data: --dataset ucf101, FOLDER or demo.")


def show_one(fact: dict) -> None:
    """A recipe's facts and settings."""
    from cli.display import console_of, say

    console = console_of()
    place = fact["table"] if fact["table"].startswith("Fig") else f"Table {fact['table']}"
    say(console, f"{fact['name']}: {place}, {fact['row']}")
    say(console, fact["about"])
    figures = [f"{FIGURE[key.split()[0]]} {key.split()[1]}: {top1}" for key, top1 in fact["expected"].items()]
    say(console, f"The paper's top-1: {', '.join(figures) or 'none printed for certain'}")
    hours = "unknown" if fact["gpu_hours"] is None else f"{fact['gpu_hours']:.3g}"
    say(console, f"GPU-hours: {hours} on {fact['dataset']} {fact['labeled']}. {cost_note()}")
    say(console, "Other than the defaults:" if fact["changes"] else "Nothing differs from the defaults.")
    for key, (before, now) in fact["changes"].items():
        say(console, f"  {key} = {_text(now)}  (default {_text(before)})")
    say(console, f"Run it: cmpl train --recipe {fact['name']} --data-root FOLDER")


def _text(value: object) -> str:
    """As --set takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
