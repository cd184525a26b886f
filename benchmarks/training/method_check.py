"""Measures top-1 of the methods on the demo over labeled subsets, at equal steps and equal compute.

    python -m benchmarks.training.method_check --json benchmarks/results/method_check_cpu.json

Each run is the trainer itself (`cmpl.session.train`) in a process of one thread, two at a time, and is kept: the same
command goes on where it was stopped. Differences are paired by subset: the same labeled videos, seed and steps.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import environment, save_json
from cmpl.config import Config, to_json, with_settings
from cmpl.recipes.demo import demo
from cmpl.registries import method_class
from cmpl.subsets import spread

Row = dict[str, Any]  # ready for JSON
METHODS = ("supervised", "fixmatch", "cmpl")
ONE_THREAD = {"runtime.workers": "0", "runtime.torch_threads": "1", "runtime.loader_threads": "1"}


@dataclass(frozen=True)
class Arm:
    """One column: a method trained for a number of steps."""

    method: str
    steps: int

    def __str__(self) -> str:
        return f"{self.method}@{self.steps}"


def config_of(arm: Arm, *, subset: int, labeled: str, settings: dict[str, str]) -> Config:
    """The demo recipe with this arm's method and steps; `subset` seeds the labeled draw and the run.

    Settings that only other arms' methods have are left out.
    """
    own = method_fields(arm.method)
    of_others = {field for method in METHODS for field in method_fields(method)} - own
    changes = {"method.name": arm.method, "optim.steps": str(arm.steps), "seed": str(subset)}
    asked = {key: text for key, text in settings.items() if key not in of_others}
    return with_settings(demo(labeled), {"data.split_seed": str(subset)} | changes | ONE_THREAD | asked)


def method_fields(method: str) -> set[str]:
    """The keys of --set that a method has."""
    return {f"method.{name}" for name in method_class(method).Settings.field_names()}


def training_cost(config: Config) -> float:
    """Multiply-adds of one step, averaged over training: a backward pass counts as two forward ones."""
    from cmpl.recipes.cost import multiply_adds, passes_a_video

    labeled, unlabeled = passes_a_video(config.method)
    # Before the unlabeled losses are switched on, unlabeled clips are not looked at.
    share = 1 - config.method.unlabeled_delay
    passes = labeled * config.batch.labeled + share * unlabeled * config.batch.unlabeled
    return passes * multiply_adds(config, num_classes=10)


def arms(steps: int, *, labeled: str, settings: dict[str, str]) -> list[Arm]:
    """Every method for `steps`, and each cheaper one for as many steps as cost what the dearest one's cost."""
    costs = {
        method: training_cost(config_of(Arm(method, steps), subset=0, labeled=labeled, settings=settings))
        for method in METHODS
    }
    equal_steps = [Arm(method, steps) for method in METHODS]
    dearest = max(costs.values())
    return equal_steps + [Arm(m, round(steps * dearest / cost)) for m, cost in costs.items() if cost < dearest]


def run_one(arm: Arm, subset: int, labeled: str, settings: dict[str, str], folder: str) -> Row:
    """Trains and evaluates one run in this process."""
    from cmpl.session import train
    from cmpl.training.reporter import Reporter

    config = config_of(arm, subset=subset, labeled=labeled, settings=settings)
    outcome = train(config, path=Path(folder) / f"{arm}-{subset}", reporter=Reporter())
    if outcome.result is None:
        raise KeyboardInterrupt
    result = outcome.result
    return {
        "arm": str(arm),
        "subset": subset,
        "top1": result["primary"]["top1"],
        "auxiliary_top1": result.get("auxiliary", {}).get("top1"),
        "train_seconds": result["train_seconds"],
    }


def summary(rows: list[Row], columns: list[Arm]) -> dict[str, dict[str, Row]]:
    """Gives mean and standard error of each arm, and of each paired difference between two of them."""
    by_arm = {str(arm): {row["subset"]: row["top1"] for row in rows if row["arm"] == str(arm)} for arm in columns}
    pairs = [(a, b) for i, a in enumerate(by_arm) for b in list(by_arm)[i + 1 :]]
    return {
        "arms": {arm: mean_and_error(list(values.values())) for arm, values in by_arm.items()},
        "differences": {
            f"{b} - {a}": mean_and_error([by_arm[b][s] - by_arm[a][s] for s in sorted(by_arm[a].keys() & by_arm[b])])
            for a, b in pairs
        },
    }


def mean_and_error(values: list[float]) -> Row:
    """Gives mean, standard error of the mean, and number of values."""
    found = spread(values)
    return {"mean": found["mean"], "standard_error": found["standard_error"], "num": len(values)}


@click.command()
@click.option("--subsets", default=5, show_default=True, help="Labeled subsets, by seed 0, 1, ...")
@click.option("--steps", default=800, show_default=True, help="Steps of the equal-steps arms.")
@click.option("--labeled", default="2", show_default=True, help="Labeled videos a class.")
@click.option("--only", multiple=True, help="Only arms of this method, at equal steps.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a field for all arms.")
@click.option("--folder", default="runs/method_check", show_default=True, help="Where the runs are kept.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
def main(
    subsets: int,
    steps: int,
    labeled: str,
    only: tuple[str, ...],
    assignments: tuple[str, ...],
    folder: str,
    json_path: Path | None,
) -> None:
    """Measure top-1 of supervised, fixmatch and cmpl on the demo over labeled subsets, with paired differences."""
    settings = dict(assignment.split("=", 1) for assignment in assignments)
    columns = [Arm(m, steps) for m in only] if only else arms(steps, labeled=labeled, settings=settings)
    jobs = [(arm, subset, labeled, settings, folder) for subset in range(subsets) for arm in columns]
    rows, begin = [], time.monotonic()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for row in pool.map(run_one, *zip(*jobs, strict=True)):
            rows.append(row)
            label, seconds = f"{row['arm']:>18} subset {row['subset']}", row["train_seconds"]
            click.echo(f"{label}: top-1 {row['top1']:.3f}  {seconds:.0f} s")
    result = summary(rows, columns)
    for kind, entries in result.items():
        click.echo(kind)
        for name, value in entries.items():
            error = f" (SE {value['standard_error']:.3f})" if value["standard_error"] is not None else ""
            click.echo(f"  {name:>38}: {value['mean']:+.3f}{error}")
    if json_path:
        config = config_of(columns[-1], subset=0, labeled=labeled, settings=settings)
        record = {"environment": environment(), "config": to_json(config), "seconds": time.monotonic() - begin}
        save_json(json_path, record | {"rows": rows} | result)


if __name__ == "__main__":
    main()
