"""What a figure needs, trained on the demo data set: it shows how the figure is made, not the paper's result."""

from pathlib import Path

from cmpl.config import Config, with_settings
from cmpl.evaluation import evaluate_run
from cmpl.recipes.registry import base_of, row_config
from cmpl.report.figures import PaperFigure
from cmpl.session import train
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory, default_run_path


def demo_config(recipe: str, *, steps: int | None) -> Config:
    """A row of the paper, shrunk to the demo. steps: its length; None: the demo's."""
    config = row_config(recipe, dataset="demo")
    return config if steps is None else with_settings(config, {"optim.steps": str(steps)})


def demo_path(recipe: str, config: Config, *, runs: Path) -> Path:
    """The folder that `cmpl train --recipe NAME --dataset demo` takes; its name has the length where one is given."""
    path = default_run_path(config, runs=runs, base=base_of(config))
    length = "" if config.optim.steps == base_of(config).optim.steps else f"-{config.optim.steps}-steps"
    return path.with_name(f"{recipe}-{path.name}{length}")


def train_for(figure: PaperFigure, *, steps: int | None, runs: Path, reporter: Reporter) -> list[Path] | None:
    """Trains and evaluates the runs of a figure on the demo, those that are not there yet; gives their folders.

    None where a signal stopped it; the same call goes on from there.
    """
    paths = []
    for number, recipe in enumerate(figure.recipes, 1):
        config = demo_config(recipe, steps=steps)
        path = demo_path(recipe, config, runs=runs)
        reporter.note(f"run {number} of {len(figure.recipes)}: {path}")
        if train(config, path=path, reporter=reporter).result is None:
            return None
        _evaluate_at_strides(path, figure.clip_strides, reporter=reporter)
        paths.append(path)
    return paths


def _evaluate_at_strides(path: Path, clip_strides: tuple[int, ...], *, reporter: Reporter) -> None:
    done = {found.get("clip_stride") for _, found in RunDirectory(path).later_evaluations()}
    for stride in clip_strides:
        if stride not in done:
            evaluate_run(path, clips=None, crops=None, reporter=reporter, device="auto", clip_stride=stride)
