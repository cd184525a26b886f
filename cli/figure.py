"""`cmpl figure`: draws a figure of the paper from runs."""

from pathlib import Path

import click

from cli.options import plugin_option
from pipelines.errors import InputError
from pipelines.registry import use_plugins


@click.command()
@click.argument("number", type=int, metavar="NUMBER")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--out", metavar="FILE", help="A .png, .svg or .pdf.  [default: figureNUMBER.png]")
@click.option("--demo", is_flag=True, help="Train what it needs on the demo data set, and draw that.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Length of each run of --demo.")
@plugin_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    number: int,
    runs: tuple[str, ...],
    out: str | None,
    demo: bool,
    steps: int | None,
    plugins: tuple[str, ...],
) -> None:
    """Draw a figure of the paper from runs.

    NUMBER is 1, 2, 4, 5, 6 or 7; RUN is a run's folder, or one of several subsets, which are averaged. Runs that do not
    fit are refused, with the recipes that make fitting ones. Wants `pip install 'cmpl[plots]'`.

    \b
      cmpl figure 2 runs/table1-cmpl-r50-* runs/table1-fixmatch-r50-*
      cmpl figure 5 runs/large runs/small --out drop.svg
      cmpl figure 7 --demo
    """
    if demo and runs:
        raise InputError("RUN and --demo: received both; accepted: one of them")
    if steps is not None and not demo:
        raise InputError(f"--steps: received {steps} without --demo; accepted: with it")
    use_plugins(plugins)
    from cli.display import console_of, reporter_on, say
    from cmpl.report.drawing import check_format, check_plots
    from cmpl.report.figures import draw_figure, figure_numbered

    figure = figure_numbered(number)
    file = Path(out or f"figure{number}.png")
    console = console_of()
    paths: list[Path] | None = [Path(run) for run in runs]
    if demo:
        from cmpl.report.demo import train_for

        check_plots("cmpl figure")  # before minutes of training
        check_format(file)
        with reporter_on(console) as reporter:
            paths = train_for(figure, steps=steps, runs=Path("runs"), reporter=reporter)
    if paths is None:
        say(console, "Stopped, with a checkpoint. The same command goes on from there.")
        ctx.exit(130)
    draw_figure(number, paths, out=file)
    say(console, f"{file}: Figure {number}, {figure.about}, from {len(paths)} run{'s' if len(paths) > 1 else ''}")
