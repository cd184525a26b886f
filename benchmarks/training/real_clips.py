"""Measures on small sets of real clips whether unlabeled videos help beyond the labeled ones alone.

    python -m benchmarks.training.real_clips --data ../shared/data --json benchmarks/results/real_clips_cpu.json

Each run is the trainer itself (`cmpl.session.train`), one thread, on clips scaled down once whose decoded pictures are
held in memory. A figure is written when it is made, and the same command goes on where it was stopped. Differences are
paired: the same videos, labels, seed and steps.
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import click

from benchmarks.environment import environment, save_json
from benchmarks.training.real_clip_sets import ready
from benchmarks.training.real_clip_table import lines, paired
from cmpl.config import Config, with_settings
from cmpl.recipes.folder import folder
from cmpl.recipes.presets import with_preset
from cmpl.registries import method_class

Row = dict[str, Any]  # ready for JSON
METHODS = ("supervised", "fixmatch", "cmpl")
SETS = ("ucf5_small", "weizmann", "jhmdb_small")
ONE_THREAD = {
    "runtime.workers": "0",
    "runtime.torch_threads": "1",
    "runtime.loader_threads": "1",
    "runtime.held_mib": "4096",
}
COMMON = {
    "clip.crop_size": "40",
    "clip.short_side": "46",
    "clip.short_side_jitter": "46,57",
    "evaluation.short_side": "46",
    "optim.steps": "300",
    "optim.lr": "0.05",
    "optim.nesterov": "true",
    "optim.warmup": "0.05",
    "batch.labeled": "4",
    "batch.unlabeled": "8",
    "primary.dropout": "0.5",
    "auxiliary.dropout": "0.5",
    "primary.stem_kernel": "3,5,5",
    "auxiliary.stem_kernel": "3,5,5",
    "primary.zero_init_residual": "false",
    "auxiliary.zero_init_residual": "false",
    "runtime.log_every_steps": "50",
}
"""What all recipes share, beside the preset cpu: a labeled batch of four, and what the demo's networks have."""
BASE = {
    "method.threshold": "0.8",
    "method.unlabeled_weight": "2",
    "method.unlabeled_delay": "0.25",
    "method.batch_norm": "separate",
}
LABELS_ALONE = "none"
"""The recipe of supervised runs beside the recipes that change only what is done with unlabeled videos."""
GENTLE = {"optim.lr": "0.02", "primary.dropout": "0", "auxiliary.dropout": "0"}
LATE = {"method.threshold": "0.95", "method.unlabeled_weight": "1", "method.unlabeled_delay": "0.5"}
RECIPES: dict[str, dict[str, str]] = {
    LABELS_ALONE: {},
    "first": {},
    "late": LATE,
    "gentle": GENTLE | LATE,
    "gentle-early": GENTLE | LATE | {"method.unlabeled_delay": "0.2"},
}
"""Name -> what a recipe changes of BASE."""
CHOSEN = "gentle"
"""The recipe that the preset cpu is for a folder of one's own (`cmpl.recipes.presets.OWN_VIDEOS`)."""
SEEN_BY_ALL = ("optim.", "primary.", "auxiliary.", "batch.labeled")
"""Beginnings of the settings that change a supervised run, too."""


def labels_alone(recipe: str) -> str:
    """The recipe of the supervised run that a recipe's other runs are compared with."""
    return recipe if any(key.startswith(SEEN_BY_ALL) for key in RECIPES[recipe]) else LABELS_ALONE


class Arm(NamedTuple):
    """One run: a method under a recipe on a set, with so many labeled videos a class."""

    dataset: str
    labeled: str
    subset: int
    recipe: str
    method: str

    def __str__(self) -> str:
        return f"{self.dataset}-{self.labeled}-{self.recipe}-{self.method}-{self.subset}"


def config_of(arm: Arm, *, root: Path) -> Config:
    """The folder's recipe with the preset cpu, changed by what all runs share and by the arm's recipe; `subset` seeds
    the labeled draw and the run. Settings that only other methods have are left out."""
    own = set(method_class(arm.method).Settings.field_names())
    changes = COMMON | BASE | RECIPES[arm.recipe] | ONE_THREAD
    fields = {
        key: text for key, text in changes.items() if not key.startswith("method.") or key.partition(".")[2] in own
    }
    given = {
        "method.name": arm.method,
        "data.root": str(root),
        "data.split_seed": str(arm.subset),
        "seed": str(arm.subset),
    }
    return with_settings(with_preset(folder(arm.labeled), "cpu"), given | fields)


def run_one(arm: Arm, config: Config, *, runs: Path) -> Row:
    """Trains and evaluates one run in this process."""
    from cmpl.session import train
    from cmpl.training.reporter import Reporter

    path = runs / str(arm)
    begin = time.process_time()
    result = train(config, path=path, reporter=Reporter()).result
    if result is None:
        raise KeyboardInterrupt
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    row: Row = arm._asdict() | {"num_evaluated": result["num_evaluated"]}
    for network in ("primary", "auxiliary"):
        if network in result:
            row[network] = {
                key: result[network].get(key) for key in ("top1", "confident_share", "confident_precision")
            } | {
                "pseudo_labels": [
                    [line["step"], line[f"pseudo_share_{network}"], line.get(f"pseudo_correct_{network}")]
                    for line in lines
                    if f"pseudo_share_{network}" in line
                ]
            }
    return row | {"cpu_seconds": round(time.process_time() - begin, 1)}


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder that holds the sets.")
@click.option("--set", "sets", multiple=True, default=SETS, show_default=True, help="Sets, by folder name.")
@click.option("--labeled", multiple=True, default=("2",), show_default=True, help="Labeled videos a class.")
@click.option("--subset", "subsets", type=int, multiple=True, default=(0, 1, 2), show_default=True, help="By seed.")
@click.option("--recipe", "recipes", multiple=True, default=(CHOSEN,), show_default=True)
@click.option("--method", "methods", multiple=True, default=METHODS, show_default=True)
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/real_clips"), show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), required=True, help="Figures, old and new.")
def main(
    data: Path,
    sets: tuple[str, ...],
    labeled: tuple[str, ...],
    subsets: tuple[int, ...],
    recipes: tuple[str, ...],
    methods: tuple[str, ...],
    runs: Path,
    json_path: Path,
) -> None:
    """Measure top-1 of supervised, fixmatch and cmpl on sets of real clips, with paired differences."""
    import torch

    torch.set_num_threads(1)
    record: Row = json.loads(json_path.read_text()) if json_path.exists() else {"rows": []}
    known = {tuple(row[field] for field in Arm._fields) for row in record["rows"]}
    arms = [
        Arm(dataset, number, subset, recipe, method)
        for dataset in sets
        for number in labeled
        for recipe in recipes
        for subset in subsets
        for method in methods
    ]
    alone = [arm._replace(recipe=labels_alone(arm.recipe)) if arm.method == "supervised" else arm for arm in arms]
    arms = list(dict.fromkeys(alone))
    for arm in arms:
        if tuple(arm) in known:
            continue
        root = ready(arm.dataset, source=data, out=runs / "data", subset=arm.subset)
        row = run_one(arm, config_of(arm, root=root.resolve()), runs=runs)
        click.echo(f"{arm}: top-1 {row['primary']['top1']:.3f}  {row['cpu_seconds']:.0f} s")
        record["rows"].append(row)
        record["settings"] = {"all": COMMON | BASE, **{row["recipe"]: RECIPES[row["recipe"]] for row in record["rows"]}}
        record["paired"] = paired(record["rows"], alone=labels_alone)
        save_json(json_path, {"environment": environment(), **record})
    for line in lines(record.get("paired", ())):
        click.echo(line)


if __name__ == "__main__":
    main()
