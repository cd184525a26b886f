"""`cmpl prepare`: encodes a data set anew so that it decodes fast."""

import dataclasses
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import column_options, config_of, plugin_option
from pipelines.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.datasets.prepare import Report

SHOWN = 10
"""Failures named on the screen; failures.json has all of them."""
_MEASURED_ON = "by a few files"


@click.command()
@click.option("--dataset", required=True, metavar="NAME|FOLDER", help="As for `cmpl train`.")
@click.option("--data-root", metavar="FOLDER", help="Where the data set lies.  [default: $CMPL_DATA]")
@column_options
@click.option("--out", required=True, metavar="FOLDER", help="Where the new data set goes: a new folder.")
@click.option(
    "--short-side", type=int, default=256, show_default=True, metavar="PIXELS", help="Smaller videos keep their size."
)
@click.option(
    "--form",
    type=click.Choice(["intra", "aligned", "gop"]),
    default="intra",
    show_default=True,
    help="intra: every picture a keyframe, fastest to decode. aligned: P BBB P, for --set clip.start_multiple=4. "
    "gop: P-pictures in short GOPs, smallest.",
)
@click.option(
    "--gop", type=int, metavar="FRAMES", help="Distance of keyframes in aligned and gop files.  [default: 16]"
)
@click.option(
    "--crf",
    type=int,
    metavar="N",
    help="x264 quality: lower means better quality and larger files.  [default: 25 for intra, else 20]",
)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Files at once.  [default: one a core]")
@plugin_option
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Such as data.official_split=2.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout, all else on stderr.")
def command(
    *,
    dataset: str,
    data_root: str | None,
    path_column: str | None,
    label_column: str | None,
    plugins: tuple[str, ...],
    settings: tuple[str, ...],
    out: str,
    workers: int | None,
    as_json: bool,
    **encoding: Any,
) -> None:
    """Encode a data set anew so that it decodes fast at random places.

    Makes H.264 files with a short side of 256, both sides a multiple of 16, upright, of square pixels, deinterlaced,
    and lists that make them a data set for `cmpl train`. Every frame of a video is there once, at its own time. The
    originals stay as they are. Stopped, it goes on when the same command is given again. Videos that cannot be used
    are named and left out. Under torchrun or in a SLURM array (`sbatch --array=0-7`) the processes share the files out;
    the one that ends last writes the lists.

    \b
      cmpl prepare --dataset my_videos --out my_videos_fast
      cmpl train --dataset my_videos_fast
    """
    config = config_of(
        dataset=dataset,
        data_root=data_root,
        path_column=path_column,
        label_column=label_column,
        settings=settings,
        plugins=plugins,
    )
    from cli.display import console_of, reporter_on, say
    from cmpl.build import annotations_of
    from pipelines.datasets.prepare import prepare
    from pipelines.loading.gain import sample_gain
    from pipelines.shares import process_share
    from pipelines.video.encoding import STRIDE, Form, Settings

    console, share = console_of(stderr=as_json), process_share()
    if workers is None:
        workers = max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    with reporter_on(console) as reporter:
        annotations = annotations_of(config, progress=reporter.progress)
        wanted = Settings(**encoding)
        report = prepare(
            annotations, Path(out), settings=wanted, num_workers=workers, share=share, progress=reporter.progress
        )
        if not report.is_whole:
            part = f"part {share.index + 1} of {share.number}"
            click.echo(f"{part}: {report.num_files} files; the part that ends last writes the lists", err=True)
            return
        start_multiple = STRIDE if wanted.form is Form.ALIGNED else 1
        gain = sample_gain(report.examples, start_multiple=start_multiple, progress=reporter.progress)
    if as_json:
        click.echo(json.dumps({"out": out, **dataclasses.asdict(report), "sample_gain": gain}, indent=1))
        return
    show_report(console, report, gain, out=out)
    command = ["cmpl", "train", "--dataset", out]
    if not annotations.horizontal_flip:
        command += ["--set", "data.horizontal_flip=false"]
    if start_multiple > 1:
        command += ["--set", f"clip.start_multiple={start_multiple}"]
    say(console, f"\nNext:\n  {shlex.join(command)}")


def show_report(console: "Console", report: "Report", gain: float, *, out: str) -> None:
    """Prints the table of a preparation, and what a user should know of. gain: as `sample_gain` gives it."""
    from rich.table import Table

    from cli.display import count, say
    from pipelines.video.encoding import Form

    table = Table("prepared", printable(out))
    kept = report.num_files - report.num_encoded
    table.add_row("files", f"{report.num_files}" + (f", {kept} of them from before" if kept else ""))
    table.add_row("frames", f"{report.num_frames}, each of the originals once")
    table.add_row("failures", str(len(report.failures)))
    if report.breaks_off:
        table.add_row("files that break off", f"{len(report.breaks_off)}, kept as far as they decode")
    if report.concealed:
        table.add_row("files with damaged frames", f"{len(report.concealed)}, the gaps filled by the decoder")
    if report.num_overclaimed:
        table.add_row("headers that claim more frames", f"{report.num_overclaimed}, kept as they decode")
    if report.num_mended:
        table.add_row("time stamps that jump", f"in {count(report.num_mended, 'file')}, set to the usual distance")
    if report.num_deinterlaced:
        table.add_row("interlaced", f"{count(report.num_deinterlaced, 'file')}, now deinterlaced")
    table.add_row("form", f"{report.form}: {Form(report.form).summary}")
    if report.num_files:
        table.add_row("size", f"{report.size_ratio:.2f} of the originals")
        table.add_row("PSNR", f"{report.psnr_db:.1f} dB, lowest {report.psnr_db_lowest:.1f} dB")
        table.add_row("a whole sample on a CPU", f"{gain:.1f} times as fast as from the originals, {_MEASURED_ON}")
    console.print(table)
    if gain < 1:
        say(console, "The originals are as fast already: train on them, or try another form or a smaller side.")
    damaged = [(path, f"{count(number, 'damaged frame')}, filled") for path, number in report.concealed[:SHOWN]]
    for path, reason in (*report.failures[:SHOWN], *report.breaks_off[:SHOWN], *damaged):
        say(console, f"{path}: {reason}")
    if len(report.failures) > SHOWN:
        say(console, f"{count(len(report.failures) - SHOWN, 'more failure')} in {Path(out) / 'failures.json'}")
    for name in report.empty_classes:
        say(console, f"class {name!r} has no training video left: take it out of classes.txt and val.csv")
