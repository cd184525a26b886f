"""Measures top-1 of the methods on the demo over labeled subsets, at equal steps and equal compute, with controls.

    python -m benchmarks.training.method_check --json benchmarks/results/method_check_cpu.json

Each run is the trainer itself (`cmpl.session.train`) in a process of one thread, and is kept: the same command goes on
where it was stopped, and the JSON holds what is done so far. Differences are paired by subset: the same labeled videos,
the same seed, the same order and views of the primary network.
"""

import json
import multiprocessing
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import environment, save_json
from benchmarks.training.arms import Arm, config_of, further_arms, main_arms
from cmpl.config import to_json
from cmpl.subsets import spread
from pipelines.errors import InputError
from pipelines.loading.source import end_with_parent

Row = dict[str, Any]  # ready for JSON
END_SHARE = 0.2
"""The last share of training over which pseudo-labels are averaged."""


def run_one(arm: Arm, subset: int, labeled: str, settings: Mapping[str, str], folder: str) -> Row:
    """Trains and evaluates one run in this process, or reads what an earlier call kept of it."""
    from cmpl.session import train
    from cmpl.training.reporter import Reporter

    config = config_of(arm, subset=subset, labeled=labeled, settings=settings)
    path = Path(folder) / f"{arm}-{subset}"
    outcome = train(config, path=path, reporter=Reporter())
    if outcome.result is None:
        raise KeyboardInterrupt
    result = outcome.result
    primary = result["primary"]
    return {
        "arm": str(arm),
        "subset": subset,
        "top1": primary["top1"],
        "worst_class_top1": min(primary["per_class"].values()),
        "auxiliary_top1": result.get("auxiliary", {}).get("top1"),
        "pseudo_labels": at_the_end(path / "metrics.jsonl"),
        "train_seconds": result["train_seconds"],
    }


def at_the_end(metrics: Path) -> Row | None:
    """The pseudo-labels that taught the primary network in the last fifth of training: their share of all videos, and
    the share of right ones among them; None where there were none."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    first = (1 - END_SHARE) * max((row.get("step", 0) for row in rows), default=0)
    last = [row for row in rows if row.get("step", 0) > first and "pseudo_share_primary" in row]
    if not last:
        return None
    share = sum(row["pseudo_share_primary"] for row in last) / len(last)
    right = sum(row["pseudo_right_primary"] for row in last) / len(last)
    return {"share": share, "right_among_them": right / share if share else None}


def summary(rows: list[Row], columns: list[Arm]) -> dict[str, dict[str, Row]]:
    """Gives mean and standard error of each arm, and of each difference between two, paired by subset."""
    by_arm = {str(arm): {row["subset"]: row["top1"] for row in rows if row["arm"] == str(arm)} for arm in columns}
    by_arm = {arm: values for arm, values in by_arm.items() if values}
    pairs = [(a, b) for i, a in enumerate(by_arm) for b in list(by_arm)[i + 1 :]]
    return {
        "arms": {arm: described(values) for arm, values in by_arm.items()},
        "paired": {
            f"{b} - {a}": described({s: by_arm[b][s] - by_arm[a][s] for s in sorted(by_arm[a].keys() & by_arm[b])})
            for a, b in pairs
            if by_arm[a].keys() & by_arm[b]
        },
    }


def described(by_subset: Mapping[int, float]) -> Row:
    """Gives mean, standard error of the mean, number, and the values by subset."""
    found = spread(list(by_subset.values()))
    return {
        "mean": found["mean"],
        "standard_error": found["standard_error"],
        "num": len(by_subset),
        "by_subset": {str(subset): value for subset, value in sorted(by_subset.items())},
    }


def subsets_of(text: str) -> list[int]:
    """The subsets that `0-9` or `10,11` names. Raises InputError for anything else."""
    subsets: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and int(last or first) >= int(first)):
            raise InputError(f"--subsets: received {text!r}; accepted: numbers and ranges, such as 0-9 or 10,11")
        subsets += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(subsets))


def lines(result: dict[str, dict[str, Row]]) -> list[str]:
    """The summary as text."""
    found = []
    for kind, entries in result.items():
        found.append(kind)
        for name, value in entries.items():
            error = f" (SE {value['standard_error']:.3f})" if value["standard_error"] is not None else ""
            found.append(f"  {name:>42}: {value['mean']:+.3f}{error}, {value['num']} subsets")
    return found


@click.command()
@click.option("--subsets", default="0-9", show_default=True, help="Labeled subsets, by seed: 0-9 or 10,11.")
@click.option("--steps", type=int, help="Steps of the equal-steps arms.  [default: the recipe's]")
@click.option("--labeled", default="1", show_default=True, help="Labeled videos a class.")
@click.option("--only", multiple=True, metavar="ARM", help="Only these arms, as NAME@STEPS or NAME at equal steps.")
@click.option("--further", is_flag=True, help="Also the arms that take CMPL apart.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a field for all arms.")
@click.option("--folder", default="runs/method_check", show_default=True, help="Where the runs are kept.")
@click.option("--done", is_flag=True, help="Report the finished runs in the folder; train nothing.")
@click.option("--processes", default=2, show_default=True, help="Runs at a time, of one thread each.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here after each run.")
def main(
    subsets: str,
    steps: int | None,
    labeled: str,
    only: tuple[str, ...],
    further: bool,
    assignments: tuple[str, ...],
    folder: str,
    done: bool,
    processes: int,
    json_path: Path | None,
) -> None:
    """Measure top-1 of supervised, FixMatch, CMPL and controls on the demo, with paired differences."""
    from cmpl.recipes.demo import demo

    settings = dict(assignment.split("=", 1) for assignment in assignments)
    steps = steps or demo().optim.steps or 0
    columns = main_arms(steps, labeled=labeled, settings=settings) + (further_arms(steps) if further else [])
    if only:
        columns = [Arm(name, int(own or steps)) for name, _, own in (text.partition("@") for text in only)]
    jobs = [(arm, subset) for subset in subsets_of(subsets) for arm in columns]
    if done:
        jobs = [(arm, subset) for arm, subset in jobs if (Path(folder) / f"{arm}-{subset}" / "result.json").exists()]
    rows, begin = [], time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=end_with_parent) as pool:
        futures = [pool.submit(run_one, arm, subset, labeled, settings, folder) for arm, subset in jobs]
        for future in as_completed(futures):
            row = future.result()
            rows.append(row)
            click.echo(
                f"{row['arm']:>20} subset {row['subset']}: top-1 {row['top1']:.3f}  {row['train_seconds']:.0f} s"
            )
            if json_path:
                config = config_of(Arm("cmpl", steps), subset=0, labeled=labeled, settings=settings)
                ordered = sorted(rows, key=lambda row: (row["subset"], row["arm"]))
                record = {"environment": environment(), "config": to_json(config), "seconds": time.monotonic() - begin}
                save_json(json_path, record | {"rows": ordered} | summary(rows, columns))
    for line in lines(summary(rows, columns)):
        click.echo(line)


if __name__ == "__main__":
    main()
