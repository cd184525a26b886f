"""`cmpl diff`: sets two runs side by side."""

import json
from pathlib import Path

import click


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
def command(*, a: str, b: str, as_json: bool) -> None:
    """Show what differs between two runs.

    A and B are folders of runs. No data set is opened.
    """
    from cmpl.run_diff import diff_of, shown

    found = diff_of(Path(a), Path(b))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
        return
    from rich.table import Table

    from cli.display import console_of, say
    from pipelines.printable import printable

    console = console_of()
    for letter, run in zip("AB", found.runs, strict=True):
        say(console, f"{letter}: {run.path}, {run.state}")
    table = Table("field", "A", "B", box=None, pad_edge=False)
    for key, (before, after) in found.fields.items():
        table.add_row(key, printable(shown(before)), printable(shown(after)))
    if found.fields:
        console.print(table)
    else:
        say(console, "The configurations are the same.")
    for line in found.data or ["The same videos and classes."]:
        say(console, line)
    scores = Table("score", box=None, pad_edge=False)
    for title in ("A", "B", "B - A"):
        scores.add_column(title, justify="right")
    for name, pair in found.scores.items():
        is_share = name not in ("steps", "seconds")
        change = pair[1] - pair[0] if pair[0] is not None and pair[1] is not None else None
        scores.add_row(name, *(_figure(value, is_share=is_share) for value in pair), _signed(change, is_share=is_share))
    for name, (before, after) in found.classes.items():
        cells = (_figure(before, is_share=True), _figure(after, is_share=True))
        scores.add_row(f"class {printable(name)}", *cells, _signed(after - before, is_share=True))
    console.print(scores)


def _figure(value: float | None, *, is_share: bool) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if is_share else f"{value:g}"


def _signed(value: float | None, *, is_share: bool) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.1f}" if is_share else f"{value:+g}"
