"""`cmpl predict`: names the classes of any videos, by a run's checkpoint alone."""

import contextlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import click

from cli.options import checkpoint_option, clips_option, crops_option, device_option, plugin_option
from pipelines.errors import InputError
from pipelines.registry import use_plugins

SHOWN = 5
"""Classes and broken files named on the screen; the file names all of them."""


@click.command()
@click.argument("run")
@click.argument("videos", nargs=-1, metavar="[VIDEO|FOLDER|LIST]...")
@click.option("--pool", type=click.Choice(("unlabeled", "train", "val")), help="Videos of the run's data set instead.")
@click.option("--data-root", metavar="FOLDER", help="Where that lies now.  [default: as in training]")
@click.option("--out", default="predictions.csv", show_default=True, metavar="FILE", help="A row a video.")
@click.option("--features", metavar="FILE", help="Also the primary's features (N, D), as safetensors.")
@click.option(
    "--sort",
    type=click.Choice(("input", "uncertain")),
    default="input",
    show_default=True,
    help="uncertain: what a person should label next comes first.",
)
@clips_option
@crops_option
@checkpoint_option
@device_option
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="The rows as JSON on stdout too, all else on stderr.")
def command(
    *,
    run: str,
    videos: tuple[str, ...],
    pool: str | None,
    data_root: str | None,
    out: str,
    features: str | None,
    sort: str,
    clips: int | None,
    crops: int | None,
    checkpoint: str,
    device: str,
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Name the classes of any videos.

    RUN is a run's folder; its data set is not needed. A row of the csv file has the video's path, its class and how
    sure the primary network is, the next classes, the auxiliary's answer and the entropy of both. A file that cannot be
    used has a row with the reason. Stopped, the same command goes on.

    \b
      cmpl predict runs/videos-all-cmpl-s0 new/ more/clip.mp4
      cmpl predict runs/videos-all-cmpl-s0 --pool unlabeled --sort uncertain --out next.csv
    """
    if bool(videos) == (pool is not None):
        received = "neither" if pool is None else "both"
        raise InputError(f"VIDEO and --pool: received {received}; accepted: videos, folders and lists, or a pool")
    use_plugins(plugins)
    import torch

    from cli.display import console_of, reporter_on, say
    from cmpl.predict import predict_videos, runtime_of
    from cmpl.prediction import as_json_row, titles
    from cmpl.prediction_file import PredictionFile, stamp_of
    from cmpl.run import load_run
    from cmpl.selection import videos_at, videos_of_pool
    from cmpl.training.runtime import device_type
    from pipelines.datasets.given import given_videos

    loaded = load_run(run, which=checkpoint, device=device_type(device))
    torch.set_num_threads(runtime_of(loaded).torch_threads)
    console = console_of(stderr=as_json)
    views = {"clips": clips or loaded.config.evaluation.clips, "crops": crops or loaded.config.evaluation.crops}
    with reporter_on(console) as reporter:
        if pool is not None:
            root = os.path.abspath(os.path.expanduser(data_root)) if data_root else None
            found = videos_of_pool(loaded, pool, data_root=root, progress=reporter.progress)
        else:
            found = videos_at(given_videos(videos), progress=reporter.progress)
        file = PredictionFile(
            Path(out),
            names=found.names,
            stamp=stamp_of(loaded, **views, with_features=features is not None),
            features=Path(features) if features else None,
        )
        with file:
            num_done, total = len(file.rows), len(found)
            if num_done:
                reporter.note(f"{file.draft}: {num_done} of {total} videos are there already")

            def progress(done: int, _rest: int, what: str) -> None:
                reporter.progress(num_done + done, total, what)

            predictions = predict_videos(
                loaded, found.part(num_done), **views, with_features=features is not None, progress=progress
            )
            with contextlib.closing(predictions):
                for prediction in predictions:
                    file.add(prediction)
            file.finish(uncertain_ones_first=sort == "uncertain")
    columns = titles(len(loaded.classes))
    rows = [as_json_row(row, columns) for row in file.rows]
    if as_json:
        result = {"run": run, "step": loaded.step, "file": out, **views, "predictions": rows}
        click.echo(json.dumps(result, indent=1))
    for line in _lines(out, rows):
        say(console, line)


def _lines(out: str, rows: list[dict[str, Any]]) -> list[str]:
    """Puts in words what was found."""
    named = Counter(row["class"] for row in rows if row["class"] is not None)
    broken = [row for row in rows if row["class"] is None]
    damaged = [row for row in rows if row["class"] is not None and row["reason"] is not None]
    differing = sum(row["agreement"] is False for row in rows)
    more = f" and {len(named) - SHOWN} more classes" if len(named) > SHOWN else ""
    lines = [f"{out}: {named.total()} videos: {', '.join(f'{name} {n}' for name, n in named.most_common(SHOWN))}{more}"]
    if differing:
        lines.append(f"the two networks name different classes of {differing} of them")
    for which, what in ((damaged, "damaged, with gaps filled by the decoder"), (broken, "without an answer")):
        if which:
            shown = "; ".join(f"{row['path']}: {row['reason']}" for row in which[:SHOWN])
            lines.append(f"{len(which)} {what}: {shown}{' ...' if len(which) > SHOWN else ''}")
    return lines
