"""Folders of runs that nobody trained: configuration, result, metrics and answers written as training writes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from cmpl.config import Config, with_settings
from cmpl.evaluate import Predictions
from cmpl.evaluation_file import write_evaluation
from cmpl.recipes.demo import demo
from cmpl.training.answers import FOLDER
from cmpl.training.course import Course, Schedule
from cmpl.training.identity import Listing, Row, identity_of
from cmpl.training.run_directory import RunDirectory, RunFacts
from pipelines.plan.geometry import Geometry

CLASSES = ("bow", "clap", "dive", "wave")
NUM_UNLABELED, PER_STEP, NUM_STEPS = 12, 3, 40
TRUTH = tuple(k % len(CLASSES) for k in range(NUM_UNLABELED))


def listing_of(*, truth: Sequence[int] = TRUTH, validation: str = "val", classes: Sequence[str] = CLASSES) -> Listing:
    """Two validation videos a class, and the unlabeled ones, of class `truth`."""
    return {
        "labeled": [Row(f"train/{name}.mp4", 10, k) for k, name in enumerate(classes)],
        "unlabeled": [Row(f"train/{k}.mp4", 10, label) for k, label in enumerate(truth)],
        "validation": [Row(f"{validation}/{name}-{n}.mp4", 10, k) for k, name in enumerate(classes) for n in range(2)],
    }


def made_run(
    path: Path,
    *,
    method: str = "cmpl",
    per_class: Mapping[str, Sequence[float]] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    answers: Mapping[tuple[int, int], Mapping[str, np.ndarray]] | None = None,
    evaluations: Sequence[Mapping[str, Any]] = (),
    listing: Listing | None = None,
    classes: Sequence[str] = CLASSES,
    config: Config | None = None,
    **settings: str,
) -> Path:
    """A run's folder. per_class: network -> top-1 of each class, without which there is no result; answers: (first
    step, last step) -> columns; evaluations: results of `cmpl eval`."""
    nowhere = {"data.dataset": "folder", "data.root": str(path / "no videos")} if config is None else {}
    config = with_settings(config or demo(), nowhere | {"method.name": method} | settings)
    listing = listing or listing_of(classes=classes)
    run = RunDirectory(path)
    course = Course(videos_per_step=(2, PER_STEP), schedules=(Schedule(first_step=0, last_step=NUM_STEPS),))
    run.claim(config, RunFacts(identity=identity_of(classes, Geometry(), listing), course=course), listing)
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    if per_class is not None:
        run.write_result(result_of(per_class, classes=classes))
    for (first, last), columns in (answers or {}).items():
        (path / FOLDER).mkdir(exist_ok=True)
        name = f"steps-{first:08d}-{last:08d}.part-{last:08d}.safetensors"
        save_file({key: np.ascontiguousarray(value) for key, value in columns.items()}, path / FOLDER / name)
    for found in evaluations:
        views = {key: found[key] for key in ("step", "clips", "crops", "clip_stride")}
        file = run.later_evaluation(**views)
        file.parent.mkdir(exist_ok=True)
        file.with_suffix(".json").write_text(json.dumps(found))
    return path


def result_of(per_class: Mapping[str, Sequence[float]], *, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    """What result.json holds of a finished run."""
    scores = {
        network: {
            "top1": float(np.mean(shares)),
            "top5": 1.0,
            "per_class": dict(zip(classes, map(float, shares), strict=True)),
        }
        for network, shares in per_class.items()
    }
    counts = {"clips": 10, "crops": 3, "num_evaluated": 2 * len(classes), "num_labeled": 4, "num_unlabeled": 12}
    times = {"steps": NUM_STEPS, "train_seconds": 100.0, "evaluation_seconds": 5.0}
    return {**scores, **counts, **times, "num_set_aside": 0, "set_aside": {}}


def evaluated(path: Path, named: Sequence[int], *, auxiliary: Sequence[int] | None = None) -> None:
    """Writes what was found of the two validation videos of each class: `named` is the class that each is given."""
    listing = RunDirectory(path).listing()
    assert listing is not None
    rows = listing["validation"]
    labels = np.array([row.label for row in rows])
    num_classes = int(labels.max()) + 1

    def answers(classes: Sequence[int]) -> Predictions:
        sure = np.linspace(0.9, 0.5, len(rows))  # the first video is the surest one
        p = np.repeat((1 - sure)[:, None] / (num_classes - 1), num_classes, axis=1)
        p[np.arange(len(rows)), list(classes)] = sure
        return Predictions(videos=np.arange(len(rows)), labels=labels, probabilities=p.astype(np.float32))

    found = {"primary": answers(named)} | ({} if auxiliary is None else {"auxiliary": answers(auxiliary)})
    facts = RunDirectory(path).facts()
    assert facts is not None
    write_evaluation(
        RunDirectory(path).evaluation, found, paths=[row.path for row in rows], classes=facts.identity.classes
    )
