"""`cmpl train`."""

import json
import shlex
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import config_of, experiment_options
from cmpl.config import Config
from cmpl.recipes.presets import FULL
from cmpl.registries import method_class
from cmpl.step_config import CHOICES

if TYPE_CHECKING:
    from rich.console import Console

LAYOUT = "FOLDER/train/<class>/<video>, FOLDER/val/<class>/<video>, FOLDER/unlabeled/<video>"


@click.command()
@experiment_options
@click.option("--recipe", metavar="NAME", help="A row of the paper's tables, as `cmpl recipes` lists them.")
@click.option("--init", metavar="FILE", help="Weights to start from: a run's, a 2D ResNet's, a video network's.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Length of training in optimizer steps.")
@click.option("--epochs", type=float, metavar="N", help="Length of training in passes over the unlabeled videos.")
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Workers; 0: none but the trainer itself.")
@click.option("--compile", type=click.Choice(CHOICES), help="torch.compile for the step; auto tries it on a GPU.")
@click.option(
    "--out", metavar="FOLDER", help="Where the run is kept.  [default: runs/, named after data, method and changes]"
)
@click.option("--scale-lr", is_flag=True, help="Scale the learning rate by the videos of a step over 192.")
@click.option("--subsets", type=click.IntRange(min=2), metavar="N", help="Train N labeled subsets, report the mean.")
@click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="NAME",
    help="Where metrics go, too: tensorboard, wandb, mlflow, csv; none.  [default: tensorboard, if installed]",
)
@click.option("--autotune", is_flag=True, help="First try which loader threads, workers and prefetch serve best.")
@click.option("--profile", is_flag=True, help="Write a trace of a few steps, for Perfetto, to the run's folder.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and, by a short trial, how long it would take.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout, all else on stderr.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    out: str | None,
    scale_lr: bool,
    loggers: tuple[str, ...],
    subsets: int | None,
    autotune: bool,
    profile: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train on few labeled and many unlabeled videos, then evaluate.

    A run that was stopped or killed goes on where it was when the same command is given again.

    \b
      cmpl train --dataset demo
      cmpl train --dataset my_videos --labeled 5 --epochs 30
      cmpl train --dataset k400 --data-root /data/k400 --labeled 10pct --set batch.accumulate=16
      cmpl train --recipe table3-aux-r18 --data-root /data/k400
    """
    if options["preset"] is None and out and (Path(out) / "config.json").exists():
        options["preset"] = preset_of_run(Path(out))
    if loggers:
        options["settings"] = (*options["settings"], f"runtime.loggers={','.join(loggers)}")
    if scale_lr:
        options["settings"] = (*options["settings"], "optim.scale_lr=true")
    config = config_of(**options)
    from cli.display import console_of, is_first_rank, reporter_on, show_result
    from cmpl import session
    from cmpl.recipes.demo import labels_alone
    from cmpl.recipes.registry import base_of
    from cmpl.training.run_directory import default_run_path

    path = Path(out) if out else default_run_path(config, runs=Path("runs"), base=base_of(config))
    if options["recipe"] and not out:
        path = path.with_name(f"{config.recipe}-{path.name}")
    console = console_of(stderr=as_json)
    if subsets and not out:
        path = path.with_name(f"{path.name}-{subsets}-subsets")
    if dry_run:
        show_dry_run(console, config, path, subsets=subsets, autotune=autotune, as_json=as_json)
        return
    with reporter_on(console) as reporter:
        if subsets:
            from cmpl.subsets import summary, train_subsets

            outcomes = train_subsets(config, num_subsets=subsets, path=path, reporter=reporter, tune_loader=autotune)
            outcome = outcomes[-1]
        else:
            outcome = session.train(config, path=path, reporter=reporter, tune_loader=autotune, profile=profile)
    if outcome.result is None:
        console.print(f"Stopped; a checkpoint lies in {path}. The same command goes on from there.", soft_wrap=True)
        ctx.exit(130)
    if subsets:
        show_subsets(
            console, summary([o.result for o in outcomes if o.result is not None]), title=str(path), as_json=as_json
        )
        return
    if as_json:
        if is_first_rank():
            click.echo(json.dumps({"run": str(path), **outcome.result}, indent=1))
        return
    show_result(console, outcome.result, title=str(path))
    if line := labels_alone(config):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(next_steps(ctx, config, path), markup=False, highlight=False, soft_wrap=True)


def preset_of_run(path: Path) -> str:
    """The preset that a run began with: it goes on with it on any machine."""
    from cmpl.training.run_directory import RunDirectory

    return RunDirectory(path).config().preset or FULL


def show_dry_run(
    console: "Console", config: Config, path: Path, *, subsets: int | None, autotune: bool, as_json: bool
) -> None:
    """The configuration, field by field, and what a training by it would do."""
    from cli.display import is_first_rank, reporter_on, say
    from cmpl.dry_run import check_only_one, dry_run

    check_only_one(subsets=subsets, tune_loader=autotune)
    with reporter_on(console) as reporter:
        found = dry_run(config, path=path, reporter=reporter)
    if as_json:
        if is_first_rank():
            click.echo(json.dumps(asdict(found), indent=1))
        return
    say(console, f"\nconfiguration (* differs from the recipe {config.recipe}):")
    for key, value in found.config.items():
        say(console, f"  {'*' if key in found.changed else ' '} {key}={json.dumps(value)}")
    say(console, "")
    for line in found.lines():
        say(console, line)
    say(console, "Nothing was trained or written.")


def show_subsets(console: "Console", spreads: dict[str, Any], *, title: str, as_json: bool) -> None:
    """Mean and spread over the labeled subsets, as a line a figure or as JSON on stdout."""
    from cli.display import is_first_rank

    if as_json:
        if is_first_rank():
            click.echo(json.dumps({"run": title, **spreads}, indent=1))
        return
    console.print(title, markup=False, highlight=False)
    for network, figures in spreads.items():
        for name, spread in figures.items():
            each = ", ".join(f"{value:.1%}" for value in spread["each"])
            console.print(
                f"{network} {name}: {spread['mean']:.1%} +- {spread['standard_deviation']:.1%} (subsets: {each})",
                highlight=False,
            )


def next_steps(ctx: click.Context, config: Config, path: Path) -> str:
    """What one may do after this run, as commands to copy."""
    other = method_class(config.method.name).compared_with
    from cli.show_batch import command as show_batch

    taken = {option.name for option in show_batch.params}
    dataset = [] if ctx.params["dataset"] else ["--dataset", config.data.dataset]
    batch = ["cmpl", "show-batch", *dataset, *_given(ctx, taken - {"out"}, method=config.method.name)]
    again = {option.name for option in ctx.command.params} - {"method", "out", "as_json"}
    lines = [
        ("compare", ["cmpl", "train", *_given(ctx, again, method=other), "--method", other]),
        ("one view", ["cmpl", "eval", str(path), "--clips", "1", "--crops", "1"]),
        *answers_of(path),
        ("see a batch", batch),
    ]
    text = next_lines(lines)
    if config.data.dataset == "demo":
        text += f"\n  {'own videos':<12} {LAYOUT}; then: cmpl train --dataset FOLDER"
    return text


def answers_of(path: Path) -> list[tuple[str, list[str]]]:
    """What a run with a result is good for, as (what, words of a command)."""
    return [
        ("new videos", ["cmpl", "predict", str(path), "FOLDER"]),
        ("look at it", ["cmpl", "report", str(path)]),
    ]


def next_lines(commands: list[tuple[str, list[str]]]) -> str:
    """Commands to copy, each with what it is for."""
    return "\nNext:\n" + "\n".join(f"  {what:<12} {shlex.join(words)}" for what, words in commands)


def _given(ctx: click.Context, names: Collection[str | None], *, method: str) -> list[str]:
    """The options of these names that were given on the command line, as words, but for fields that `method` lacks."""
    words: list[str] = []
    fields = {f"method.{name}" for name in method_class(method).Settings.field_names() if name != "name"}
    for option in ctx.command.params:
        if not isinstance(option, click.Option) or option.name is None or option.name not in names:
            continue
        if ctx.get_parameter_source(option.name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        if option.is_flag:
            words.append(option.opts[0])
            continue
        values = ctx.params[option.name]
        for value in values if option.multiple else (values,):
            key = str(value).partition("=")[0].strip()
            if option.name == "settings" and key.startswith("method.") and key not in fields:
                continue
            words += [option.opts[0], str(value)]
    return words
