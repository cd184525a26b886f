"""Trains a run by one call, and reads a trained one back from its folder, without the data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from cmpl import build, session
from cmpl.config import Config
from cmpl.recipes.registry import base_of
from cmpl.training.checkpoint import chosen_checkpoint, load_evaluated
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory, default_run_path
from pipelines.errors import InputError
from pipelines.plan.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class Run:
    """A checkpoint of a run, ready to predict with."""

    path: Path
    config: Config
    classes: tuple[str, ...]  # in the order of the networks' outputs
    geometry: Geometry
    networks: dict[str, nn.Module]  # "primary", and "auxiliary" where the method has one; in eval mode
    step: int
    result: dict[str, Any] | None  # result.json, or None while the run is not finished


def train(config: Config, *, out: Path | str | None = None, reporter: Reporter | None = None) -> session.Outcome:
    """Trains to the end and evaluates, in `out` or else in a folder under runs/ named after the configuration.

    Goes on where an earlier call was stopped, and says nothing without a reporter.
    Raises InputError for whatever in the configuration or the data cannot be.
    """
    path = Path(out) if out is not None else default_run_path(config, runs=Path("runs"), base=base_of(config))
    return session.train(config, path=path, reporter=reporter or Reporter())


def load_run(path: Path | str, *, which: str = "last", device: str = "cpu") -> Run:
    """Reads the last or the best checkpoint of the run at `path`; no data set is opened.

    The weights are the average's where the run keeps one, as in its evaluation.
    Raises InputError where there is no such run or checkpoint, or the checkpoint names no classes.
    """
    run = RunDirectory(Path(path))
    config = run.config()
    found, checkpoint, _ = chosen_checkpoint(run.checkpoints, which)
    classes = tuple(checkpoint.state.get("classes", ()))
    if not classes:
        raise InputError(f"checkpoint {found}: names no classes; accepted: a checkpoint whose state.json has `classes`")
    method = build.method_of(config, num_classes=len(classes))
    load_evaluated(method, checkpoint, source=str(found))
    networks = build.networks_of(method.to(device).eval())
    return Run(
        path=run.path,
        config=config,
        classes=classes,
        geometry=build.geometry_of(config),
        networks=networks,
        step=checkpoint.step,
        result=run.result(),
    )
