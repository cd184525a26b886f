"""`cmpl report`: one page about one or several runs."""

import os
from pathlib import Path

import click

from cli.options import plugin_option
from pipelines.registry import use_plugins


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", default="report.html", show_default=True, metavar="FILE", help="The page to write.")
@click.option("--pictures", metavar="FOLDER", help="Also write every picture there: .svg and .png, frames as .jpg.")
@click.option("--videos", type=click.IntRange(0, 100), default=6, show_default=True, help="Single videos of each kind.")
@click.option("--data-root", metavar="FOLDER", help="Where the data set lies now.  [default: as in training]")
@plugin_option
def command(
    *,
    runs: tuple[str, ...],
    out: str,
    pictures: str | None,
    videos: int,
    data_root: str | None,
    plugins: tuple[str, ...],
) -> None:
    """Write a page about runs: curves, confusion, classes, videos.

    RUN is a run's folder, finished or not, or one of several subsets. The page is a single file that loads nothing from
    elsewhere. Several runs are set side by side, beside the paper's figures. Wants `pip install 'cmpl[plots]'`.

    \b
      cmpl report runs/videos-10pct-cmpl-s0
      cmpl report runs/* --out study.html --pictures pictures/
    """
    use_plugins(plugins)
    from cli.display import console_of, reporter_on, say
    from cmpl.report.report import write_report

    console = console_of()
    root = os.path.abspath(os.path.expanduser(data_root)) if data_root else None
    with reporter_on(console) as reporter:
        found = write_report(
            runs,
            out=Path(out),
            pictures=Path(pictures) if pictures else None,
            data_root=root,
            num_videos=videos,
            progress=reporter.progress,
        )
    for run in found:
        for line in run.missing:
            say(console, f"{run.path}: not in the report: {line}")
    say(console, f"{out}: {len(found)} run{'s' if len(found) > 1 else ''}, {Path(out).stat().st_size / 1e6:.1f} MB")
