"""What a run's folder says of the run, gathered for reports and figures. Nothing is drawn or decoded here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cmpl.config import Config
from cmpl.evaluation_file import EvaluatedVideo, read_evaluation
from cmpl.training.answers import Answers, read_answers
from cmpl.training.identity import Listing
from cmpl.training.metrics_file import read_metrics
from cmpl.training.run_directory import RunDirectory, RunFacts
from pipelines.errors import InputError

NETWORKS = ("primary", "auxiliary")


@dataclass(frozen=True, kw_only=True, eq=False)
class RunValues:
    """One run, as far as its folder tells. `result` and `videos` are of one evaluation; None and empty without any."""

    path: Path
    name: str  # of its folder
    config: Config
    facts: RunFacts | None
    metrics: tuple[dict[str, Any], ...]  # lines of metrics.jsonl
    result: dict[str, Any] | None
    videos: tuple[EvaluatedVideo, ...]
    problems: dict[str, str]  # path -> reason
    evaluations: tuple[dict[str, Any], ...]  # results of `cmpl eval`, the newest last
    missing: tuple[str, ...]  # what is not there, and why

    @property
    def is_finished(self) -> bool:
        """Tells if training went to its end and was evaluated."""
        return self.result is not None and "train_seconds" in self.result

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of the labels; of a run without run.json, those that were evaluated."""
        if self.facts is not None:
            return self.facts.identity.classes
        return tuple(self.result["primary"]["per_class"]) if self.result else ()

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that the result has figures of."""
        return tuple(name for name in NETWORKS if self.result is not None and name in self.result)

    @property
    def last_step(self) -> int:
        """The last step that something is known of."""
        steps = [line["step"] for line in self.metrics]
        return max([*steps, int((self.result or {}).get("steps", 0))], default=0)

    @property
    def num_steps(self) -> int | None:
        """The steps that training goes to, where the folder says it."""
        return None if self.facts is None else self.facts.course.current.last_step

    def count(self, part: str) -> int | None:
        """The videos of a part of the run's listing: labeled, unlabeled, validation; None where it is not known."""
        videos = None if self.facts is None else self.facts.identity.videos.get(part)
        return None if videos is None else videos.number

    @property
    def steps_an_epoch(self) -> float | None:
        """Steps of a pass over the unlabeled videos, or None where their number is not known."""
        number = self.count("unlabeled")
        return number / self.facts.course.videos_per_step[1] if self.facts is not None and number else None

    def series(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of a metric, where it was logged as a finite number."""
        pairs = [(line["step"], line[key]) for line in self.metrics if _is_number(line.get(key))]
        steps, values = zip(*pairs, strict=True) if pairs else ((), ())
        return np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)

    @cached_property
    def listing(self) -> Listing | None:
        """Every video of the run; None where the file is missing or damaged."""
        return RunDirectory(self.path).listing()

    @cached_property
    def answers(self) -> list[Answers]:
        """What the networks named the unlabeled videos, a span of training after the other."""
        return read_answers(self.path)

    @cached_property
    def truth(self) -> np.ndarray | None:
        """(N,) int64 class of each unlabeled video, -1 where unknown; None where the listing is missing."""
        if self.listing is None:
            return None
        return np.array([row.label for row in self.listing["unlabeled"]], dtype=np.int64)


def values_of(path: Path | str) -> RunValues:
    """Gathers the values of the run at `path`. What is missing or damaged is named, not an error.

    Raises InputError where there is no run.
    """
    run = RunDirectory(Path(path))
    config = run.config()
    missing: list[str] = []

    def read(what: str, reader: Any, otherwise: Any) -> Any:
        try:
            return reader()
        except InputError as error:
            missing.append(f"{what}: {error}")
            return otherwise

    facts = read("what the run is", run.facts, None)
    metrics = tuple(read_metrics(run.path))
    result = read("result", run.result, None)
    later = [(file, found) for file, found in run.later_evaluations() if isinstance(found.get("primary"), dict)]
    file = run.evaluation
    plain = [(csv, found) for csv, found in later if found.get("clip_stride", 1) == 1]
    if result is None and plain:
        file, result = plain[-1]
    videos = tuple(read("answers to each video", lambda: read_evaluation(file), ())) if file.exists() else ()
    if not metrics:
        missing.append("curves: metrics.jsonl has no line yet")
    elif not any("val_top1" in line for line in metrics):
        missing.append("curve of validation: none was made during training (evaluation.every_steps)")
    if result is None:
        missing.append("result: the run is not finished; `cmpl eval` evaluates its last checkpoint")
    elif not videos:
        missing.append("confusion matrix and single videos: an older version kept none; `cmpl eval` does")
    return RunValues(
        path=run.path,
        name=run.path.resolve().name,
        config=config,
        facts=facts,
        metrics=metrics,
        result=result,
        videos=videos,
        problems=run.problems() | dict((result or {}).get("set_aside", {})),
        evaluations=tuple(found for _, found in later),
        missing=tuple(missing),
    )


def runs_at(paths: Iterable[Path | str]) -> list[RunValues]:
    """Gathers the runs of the folders, each once; of one that `--subsets` left, every subset's.

    Raises InputError where there is no run, or no folder is given.
    """
    found: dict[Path, RunValues] = {}
    for path in map(Path, paths):
        folders: Sequence[Path] = sorted(path.glob("subset-*")) if (path / "subsets.json").is_file() else [path]
        for folder in folders:
            if folder.resolve() not in found:
                found[folder.resolve()] = values_of(folder)
    if not found:
        raise InputError("RUNS: received none; accepted: folders of runs")
    return list(found.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
