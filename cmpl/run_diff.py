"""What differs between two runs: configuration, data, scores. Read from their files; no data set is opened."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmpl.run_list import RunSummary, summary_of
from cmpl.training.identity import differences
from cmpl.training.run_directory import RunDirectory, read_json
from pipelines.errors import InputError

NUM_CLASSES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs between runs A and B. Figures are shares of 1, seconds and steps; None where a run has none."""

    runs: tuple[RunSummary, RunSummary]
    fields: dict[str, tuple[Any, Any]]  # of the configuration: key of --set -> values; only those that differ
    data: list[str]  # a line for each thing in classes, geometry or videos
    scores: dict[str, tuple[float | None, float | None]]
    classes: dict[str, tuple[float, float]]  # top-1 of the primary, where it changed most, largest change first

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def diff_of(first: Path, second: Path) -> Difference:
    """Compares two runs. Raises InputError where one is missing or damaged."""
    configs = [_flat(_read_config(path)) for path in (first, second)]
    runs = summary_of(first), summary_of(second)
    results = [RunDirectory(path).result() or {} for path in (first, second)]
    keys = dict.fromkeys([*configs[0], *configs[1]])
    return Difference(
        runs=runs,
        fields={
            key: (configs[0].get(key), configs[1].get(key))
            for key in keys
            if configs[0].get(key) != configs[1].get(key)
        },
        data=_data(first, second),
        scores=_scores(runs, results),
        classes=_classes(results),
    )


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise InputError(f"{path}: no run is there; accepted: a folder that `cmpl train` made")
    return read_json(file)


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """{"optim.lr": 0.1, ...}. Values as they stand in the file: a run of another version has other fields."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _data(first: Path, second: Path) -> list[str]:
    runs = RunDirectory(first), RunDirectory(second)
    facts = [run.facts() for run in runs]
    if facts[0] is None or facts[1] is None:
        return ["not known: a run of an older version names no videos"]
    before, after = facts[0].identity, facts[1].identity
    listings = (None, None) if before.videos == after.videos else (runs[0].listing(), runs[1].listing())
    return [
        line.replace(" there,", " in A,").replace(" there;", " in A;").replace(" now", " in B")
        for line in differences(before, after, listings=listings)
    ]


def _scores(
    runs: tuple[RunSummary, RunSummary], results: list[dict[str, Any]]
) -> dict[str, tuple[float | None, float | None]]:
    rows: dict[str, tuple[float | None, float | None]] = {}
    for network in ("primary", "auxiliary"):
        for name in ("top1", "top5", "confident_share", "confident_precision"):
            found = [result.get(network, {}).get(name) for result in results]
            if found != [None, None]:
                rows[f"{network} {name}"] = (found[0], found[1])
    for label, field in (("best quick validation", "best_val_top1"), ("steps", "step"), ("seconds", "train_seconds")):
        found = [getattr(run, field) for run in runs]
        if found != [None, None]:
            rows[label] = (found[0], found[1])
    return rows


def _classes(results: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    per_class = [result.get("primary", {}).get("per_class", {}) for result in results]
    both = {name: (value, per_class[1][name]) for name, value in per_class[0].items() if name in per_class[1]}
    moved = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
    return dict(sorted(moved.items(), key=lambda item: -abs(item[1][1] - item[1][0]))[:NUM_CLASSES_SHOWN])


def shown(value: Any) -> str:
    """A value of a configuration in one line."""
    return value if isinstance(value, str) else json.dumps(value)
