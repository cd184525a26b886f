"""Runs under a folder and what became of each, read from their files alone. Torch is not imported."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmpl.training.lock import holder_of
from pipelines.errors import InputError

DEEPEST = 3
"""Folders between the one that is asked about and a run's."""
STATES = ("running", "finished", "stopped", "killed", "diverged", "failed", "unreadable")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What the files of a run say. Shares are of 1; what is not known is None."""

    path: str
    state: str  # one of STATES
    method: str
    dataset: str
    labeled: str
    seed: int
    step: int  # of the newest checkpoint or metrics, whichever is later
    num_steps: int | None
    top1: dict[str, float]  # network -> top-1 of the result
    best_val_top1: float | None  # of the quick validations
    best_val_step: int | None
    train_seconds: float | None
    written: float  # seconds since 1970 of the last change
    detail: str  # who trains, or why the run ended


def runs_under(folder: Path) -> list[RunSummary]:
    """The runs in a folder, at most DEEPEST folders down, the one that was written to last first.

    Raises InputError where the folder is missing. A run whose files are damaged is listed as unreadable.
    """
    if not folder.is_dir():
        raise InputError(f"folder: received {folder}: no such folder; accepted: a folder of runs")
    return sorted((summary_of(path) for path in run_folders(folder)), key=lambda run: -run.written)


def run_folders(folder: Path) -> Iterator[Path]:
    """Folders of runs at `folder` and below it. What lies in a run is not looked into, but for its subsets."""
    waiting = [(folder, 0)]
    while waiting:
        path, depth = waiting.pop()
        if (path / "config.json").is_file():
            yield path
        elif depth < DEEPEST:
            try:
                inner = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
            except OSError:
                continue
            waiting += [(entry, depth + 1) for entry in inner]


def summary_of(path: Path) -> RunSummary:
    """What became of the run at `path`."""
    try:
        config = json.loads((path / "config.json").read_text())
        data, method, seed = config["data"], config["method"]["name"], config["seed"]
        named = {"method": str(method), "dataset": _dataset(data), "labeled": _labeled(data), "seed": int(seed)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        named = {"method": "?", "dataset": "?", "labeled": "?", "seed": 0}
        return _summary(path, named, state="unreadable", detail=f"config.json: {error}")
    facts, result, end = (_read(path / name) for name in ("run.json", "result.json", "end.json"))
    try:
        num_steps = int(facts["schedules"][-1][1])
    except (KeyError, IndexError, TypeError, ValueError):
        num_steps = None
    holder = holder_of(path)
    if holder is not None:
        who = f"process {holder['pid']} on {holder['host']}" if "pid" in holder and "host" in holder else ""
        return _summary(path, named, state="running", detail=who, num_steps=num_steps, result=result)
    if result and num_steps in (None, result.get("steps")):
        return _summary(path, named, state="finished", detail="", num_steps=num_steps, result=result)
    how = str(end.get("how", "killed"))
    why = str(end.get("why", ""))
    return _summary(
        path, named, state=how if how in STATES else "killed", detail=why, num_steps=num_steps, result=result
    )


def _summary(
    path: Path,
    named: dict[str, Any],
    *,
    state: str,
    detail: str,
    num_steps: int | None = None,
    result: dict[str, Any] | None = None,
) -> RunSummary:
    lines = list(metrics_of(path))
    checkpoints = sorted(folder for folder in path.glob("checkpoints/step-*") if folder.name[5:].isdecimal())
    saved = int(checkpoints[-1].name[5:]) if checkpoints else 0
    validated = [(line["val_top1"], -line["step"]) for line in lines if isinstance(line.get("val_top1"), float)]
    best = max(validated, default=None)
    seconds = (result or {}).get("train_seconds")
    if seconds is None and checkpoints:
        seconds = _read(checkpoints[-1] / "state.json").get("wall_seconds")
    return RunSummary(
        path=str(path),
        state=state,
        **named,
        step=max([saved, *(line["step"] for line in lines[-1:])]),
        num_steps=num_steps,
        top1={
            network: float(result[network]["top1"])
            for network in ("primary", "auxiliary")
            if result and isinstance(result.get(network), dict) and "top1" in result[network]
        },
        best_val_top1=None if best is None else best[0],
        best_val_step=None if best is None else -best[1],
        train_seconds=seconds,
        written=max(file.stat().st_mtime for file in (path, *path.glob("*.json*"), *checkpoints)),
        detail=" ".join(detail.split()),
    )


def metrics_of(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, up to the first that is damaged."""
    try:
        with (path / "metrics.jsonl").open(errors="replace") as file:
            for text in file:
                line = json.loads(text)
                if not isinstance(line, dict) or not isinstance(line.get("step"), int):
                    return
                yield line
    except (OSError, ValueError):
        return


def _read(file: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where there is none."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _dataset(data: dict[str, Any]) -> str:
    name = str(data["dataset"]).rpartition(":")[2]
    return Path(data["root"]).name if name == "folder" and data.get("root") else name


def _labeled(data: dict[str, Any]) -> str:
    labeled = str(data["labeled"])
    return Path(labeled).stem if "/" in labeled else labeled
