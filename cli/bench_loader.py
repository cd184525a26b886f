"""`cmpl bench-loader`: measures the loader and the training step."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.bench_loader.gpus import GPUS
from cli.options import config_of, experiment_options
from cmpl.config import Config, changed, checked
from cmpl.recipes.registry import RECIPES, recipe_for
from pipelines.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from benchmarks.bench_loader.rows import Measured, Row

MAX_BAR_CHARACTERS = 40
_NONE = object()
"""Stands for a field that another method does not have."""


@click.command()
@experiment_options
@click.option(
    "--recipe", type=click.Choice(list(RECIPES)), help="Whose clips, networks and batch.  [default: the data's]"
)
@click.option(
    "--workers", type=click.IntRange(min=0), metavar="N", help="Workers; 0: read in the trainer's own process."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="For the stages together, and for each of the three that run whole.",
)
@click.option(
    "--model",
    type=click.Choice(list(GPUS)),
    help="Predict a GPU's rates from published figures.",
)
@click.option("--json", "json_file", metavar="FILE", help="Where all figures, the hardware and the settings go.")
@click.option("--plot", metavar="FILE", help="Where a bar chart goes, as a PNG; by matplotlib, `cmpl[plots]`.")
def command(
    *, recipe: str | None, seconds: float, model: str | None, json_file: str | None, plot: str | None, **options: Any
) -> None:
    """Measure the loader and the training step, and say which limits.

    Each stage of a clip's path alone, the whole loader, the training step on a batch that is there already, and both
    together; nothing is kept of the networks. Stages find their files in memory (page cache); what runs whole reads
    them from where they lie.

    \b
      cmpl bench-loader --dataset demo
      cmpl bench-loader --dataset my_videos --recipe k400 --workers 8 --json loader.json
      cmpl bench-loader --dataset my_videos --recipe k400 --model h100
    """
    config = configuration(recipe, **options)
    for option, file in (("--json", json_file), ("--plot", plot)):
        if file and not Path(file).absolute().parent.is_dir():
            raise InputError(f"{option}: received {file!r}, in a folder that does not exist; accepted: a file to write")
    if model:
        if plot:
            raise InputError(f"--plot: received {plot!r} with --model; accepted: --json, or no --model")
        predict_for(model, config, json_file=json_file)
        return
    import os

    import torch

    from benchmarks.bench_loader.plot import check_plots, save_plot
    from benchmarks.bench_loader.report import advice, facts
    from benchmarks.bench_loader.this_cpu import compared
    from benchmarks.bench_loader.whole import measure
    from benchmarks.environment import environment
    from cli.display import console_of, reporter_on, say
    from cmpl import build
    from cmpl.config import to_json
    from cmpl.training.runtime import settle

    if plot:
        check_plots(plot)
    console = console_of()
    runtime = settle(config.runtime)
    torch.set_num_threads(runtime.torch_threads)
    with reporter_on(console) as reporter:
        reporter.note(", ".join(runtime.reasons))
        data = build.open_data(config, progress=reporter.progress)
        num_cores = len(os.sched_getaffinity(0))
        measured = measure(
            config,
            data,
            runtime=runtime,
            num_cores=num_cores,
            seconds=seconds,
            note=lambda what: reporter.note(f"measuring {what}"),
        )
    show(console, measured)
    wholes = list(compared(measured))
    said = [*facts(measured), *(whole.line() for whole in wholes), *advice(measured)]
    for line in said:
        say(console, line)
    if json_file:
        record = {"benchmark": "loader", "seconds": seconds, "environment": environment(), "config": to_json(config)}
        record |= measured.to_json() | {"said": said, "compared": [dataclasses.asdict(whole) for whole in wholes]}
        Path(json_file).write_text(json.dumps(record, indent=1) + "\n")
    if plot:
        save_plot(measured, Path(plot))


def predict_for(gpu: str, config: Config, *, json_file: str | None) -> None:
    """Predicts the rates on a GPU that is not here, and shows on what the prediction rests."""
    from rich.table import Table

    from benchmarks.bench_loader.forecast import forecast
    from benchmarks.bench_loader.report import rate
    from cli.display import console_of, reporter_on, say
    from cmpl import build
    from cmpl.config import to_json

    console = console_of()
    with reporter_on(console) as reporter:
        data = build.open_data(config, progress=reporter.progress)
        found = forecast(config, data, GPUS[gpu])
    table = Table("videos/s, predicted", *(p.assumptions for p in found.predictions), box=None, pad_edge=False)
    for name in found.predictions[0].rates:
        table.add_row(name, *(rate(prediction.rates[name]) for prediction in found.predictions))
    console.print(table)
    for line in (*found.advice, *found.grounds):
        say(console, line)
    if json_file:
        record = {"benchmark": "model", "config": to_json(config)} | found.to_json()
        Path(json_file).write_text(json.dumps(record, indent=1) + "\n")


def configuration(recipe: str | None, **options: Any) -> Config:
    """The data set's configuration; with a recipe, that one's on the data set, and what was asked for on top of it."""
    config = config_of(**options)
    if recipe is None:
        return config
    unasked = {name: None for name in options} | {"settings": (), "plugins": ()}
    plain = config_of(**unasked | {name: options[name] for name in ("dataset", "data_root")})
    labeled = options.get("labeled")
    return checked(on_data(recipe_for(recipe)(labeled) if labeled else recipe_for(recipe)(), asked=config, plain=plain))


def on_data(recipe: Config, *, asked: Config, plain: Config) -> Config:
    """A recipe with another one's data, and with each field in which `asked` differs from its own recipe, `plain`."""
    config = dataclasses.replace(recipe, data=asked.data, plugins=asked.plugins)
    if asked.seed != plain.seed:
        config = dataclasses.replace(config, seed=asked.seed)
    for item in dataclasses.fields(recipe):
        section = getattr(asked, item.name)
        if dataclasses.is_dataclass(section) and item.name != "data":
            before = vars(getattr(plain, item.name))
            different = {name: value for name, value in vars(section).items() if before.get(name, _NONE) != value}
            config = changed(config, item.name, **different)
    return config


def show(console: "Console", measured: "Measured") -> None:
    """The table of figures and the bar chart."""
    console.print(figures(measured))
    console.print(chart_table(measured))


def figures(measured: "Measured") -> "Table":
    """One line a row: rates, time with its quartiles, processor time, bytes, waiting."""
    from rich.table import Table

    table = Table("", box=None, pad_edge=False, collapse_padding=True)
    table.title, table.title_justify = "medians over batches; stages alone, in one process", "left"
    for title in ("videos\n/s", "clips\n/s", "ms a\nvideo", "\nquartiles", "CPU ms\na clip", "MB\na clip", "\nwaits"):
        table.add_column(title, justify="right", no_wrap=True)
    table.columns[0].no_wrap = True
    for row in measured.rows.values():
        table.add_row(row.name, *cells(row))
    return table


def cells(row: "Row") -> tuple[str, ...]:
    """The texts of one line."""
    from benchmarks.bench_loader.report import rate
    from cli.display import percent

    ms, low, high = (
        rate(1e3 * seconds)
        for seconds in (row.seconds_per_video, row.lower_quartile_seconds, row.upper_quartile_seconds)
    )
    return (
        rate(row.videos_per_second),
        rate(row.clips_per_second),
        ms,
        f"{low}-{high}",
        f"{1e3 * row.cpu_seconds_per_clip:.3g}",
        "-" if row.bytes_per_clip is None else f"{row.bytes_per_clip / 1e6:.3g}",
        "-" if row.wait_share is None else percent(row.wait_share),
    )


def chart_table(measured: "Measured") -> "Table":
    """The bars, on a scale that ends at a few times what training needs."""
    from rich.bar import Bar
    from rich.table import Table

    from benchmarks.bench_loader.report import bars, rate

    table = Table("", "videos/s", "", box=None, pad_edge=False)
    for row, length, is_cut_off in bars(measured):
        bar = Bar(size=1.0, begin=0, end=length, width=MAX_BAR_CHARACTERS)
        table.add_row(row.name, bar, f"{rate(row.videos_per_second)}{' >' if is_cut_off else ''}")
    return table
