"""`cmpl export`: writes a run's network as a file that other programs run."""

import json
from pathlib import Path

import click

from cli.options import checkpoint_option, plugin_option
from pipelines.printable import printable
from pipelines.registry import use_plugins


@click.command()
@click.argument("run")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(("torch", "onnx")),
    default="torch",
    show_default=True,
    help="torch.export's, or ONNX (pip install 'cmpl[onnx]').",
)
@click.option("--network", type=click.Choice(("primary", "auxiliary")), default="primary", show_default=True)
@click.option("--out", metavar="FILE", help="The file.  [default: <run>-<network>.pt2 or .onnx]")
@checkpoint_option
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="What was written as JSON on stdout.")
def command(
    *,
    run: str,
    file_format: str,
    network: str,
    out: str | None,
    checkpoint: str,
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a run's network as a file that other programs run.

    It takes uint8 clips (batch, frames, side, side, 3) and gives probabilities; normalization is inside, class names
    and geometry are in its metadata. It is read again and compared with the run before it takes its name.
    """
    use_plugins(plugins)
    from cmpl.export import FORMATS, export
    from cmpl.run import load_run

    loaded = load_run(run, which=checkpoint)
    path = Path(out or f"{Path(run).resolve().name}-{network}{FORMATS[file_format]}")
    done = export(loaded, path, format=file_format, network=network)
    if as_json:
        result = {"file": str(path), "largest_difference": done.largest_difference, "metadata": done.metadata}
        click.echo(json.dumps(result, indent=1))
        return
    about = done.metadata
    shape = f"(batch, {about['frames']}, {about['side']}, {about['side']}, 3)"
    click.echo(
        printable(
            f"{path}: uint8 clips {shape}, frames {about['stride']} apart -> probabilities of "
            f"{len(about['classes'])} classes\n"
            f"read again, its answers differ from the run's by {done.largest_difference:.2g} at most"
        )
    )
