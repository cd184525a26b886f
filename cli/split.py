"""`cmpl split`: draws the labeled subset of a data set and writes it as a list."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import click

from cli.options import column_options, config_of, plugin_option
from cmpl.config import DataConfig
from pipelines.printable import printable

SHOWN = 5
"""Missing files named on the screen; --json names all of them."""


@click.command()
@click.option("--dataset", required=True, metavar="NAME|FOLDER", help="As for `cmpl train`.")
@click.option("--data-root", metavar="FOLDER", help="Where the data set lies.  [default: $CMPL_DATA]")
@column_options
@click.option("--labeled", metavar="SHARE", help="1pct, 10pct, all, or a number a class.  [default: the recipe's]")
@click.option(
    "--seed",
    "split_seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="K",
    help="Number of the subset: 0, 1 and 2 are the three that results are averaged over.",
)
@click.option("--scheme", metavar="NAME", help="uniform, or category-wise: in proportion to the classes.")
@plugin_option
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Such as data.official_split=2.")
@click.option("--out", metavar="FILE", help="The list.  [default: <data>-<labels>-s<seed>.csv]")
@click.option("--json", "as_json", is_flag=True, help="Counts and missing files as JSON on stdout.")
def command(*, out: str | None, as_json: bool, **options: Any) -> None:
    """Draw the labeled subset of a data set and write it as a list.

    On Kinetics-400 1pct and 10pct are the paper's 6 and 60 videos a class, on UCF-101 1 and 10; elsewhere they are per
    cent of each class. The draw depends on the videos' names and the seed alone, so that everybody gets the same; in
    the place of a file that is missing here another is drawn. Files are not opened: training passes over the broken
    ones.

    \b
      cmpl split --dataset k400 --data-root /data/k400 --labeled 1pct --seed 0
      cmpl train --dataset k400 --data-root /data/k400 --labeled k400-1pct-s0.csv
    """
    config = config_of(**options)
    from cmpl.build import annotations_of, labels_drawn
    from pipelines.datasets.labeled_subset import write_subset

    annotations = annotations_of(config)
    train = annotations.train
    drawn = labels_drawn(config, annotations)
    file = Path(out or _default_name(config.data))
    write_subset(
        file, indices=drawn, names=train.names or train.paths, labels=train.labels, classes=annotations.classes
    )
    result = {
        "file": str(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "dataset": annotations.name,
        "labeled": config.data.labeled,
        "scheme": config.data.split_scheme,
        "seed": config.data.split_seed,
        "num_labeled": len(drawn),
        "num_train": len(train),
        "num_val": len(annotations.val),
        "num_classes": len(annotations.classes),
        "per_class": {name: int((train.labels[drawn] == k).sum()) for k, name in enumerate(annotations.classes)},
        "num_missing": len(train.absent) + len(annotations.val.absent),
        "missing": [videos.paths[k] for videos in (train, annotations.val) for k in videos.absent],
    }
    click.echo(json.dumps(result, indent=1) if as_json else printable("\n".join(_lines(result, options))))


def _default_name(data: DataConfig) -> str:
    """`k400-1pct-s0.csv`, with the scheme and the official split where they are not the usual ones."""
    words = [Path(data.root).name if data.dataset == "folder" and data.root else data.dataset]
    words += [f"split{data.official_split}"] if data.official_split != 1 else []
    words += [Path(data.labeled).stem]
    words += [data.split_scheme] if data.split_scheme != "uniform" else []
    return f"{'-'.join(words)}-s{data.split_seed}.csv"


def _lines(result: dict[str, Any], options: dict[str, Any]) -> list[str]:
    """Puts the result in words, then the command that uses it."""
    least, most = (pick(result["per_class"].values()) for pick in (min, max))
    a_class = f"{least}" if least == most else f"{least} to {most}"
    lines = [
        f"{result['file']}: {result['num_labeled']} of {result['num_train']} training videos, {a_class} in each of "
        f"{result['num_classes']} classes",
    ]
    if result["num_missing"]:
        shown = ", ".join(result["missing"][:SHOWN]) + (" ..." if result["num_missing"] > SHOWN else "")
        total = result["num_train"] + result["num_val"]
        lines.append(f"{result['num_missing']} of {total} listed files are missing: {shown}")
    words = ["cmpl", "train", "--dataset", options["dataset"]]
    if options["data_root"]:
        words += ["--data-root", options["data_root"]]
    for column in ("path_column", "label_column"):
        if options[column]:
            words += [f"--{column.replace('_', '-')}", options[column]]
    for setting in options["settings"]:
        words += ["--set", setting]
    return [*lines, f"Next: {shlex.join([*words, '--labeled', result['file']])}"]
