"""Metrics: summed on the device, read every N steps, written to metrics.jsonl and handed to the run's loggers."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmpl.loggers.logger import LoggedRun, Loggers
from cmpl.methods.method import Terms
from cmpl.training.metrics_file import NAME, read_metrics
from cmpl.training.run_directory import unwritable
from pipelines.files import written_whole

_JUDGED = ("pseudo_judged_", "pseudo_right_")


class TermSums:
    """Running sums of a method's terms, without reading the device."""

    def __init__(self) -> None:
        self._sums: Terms = {}
        self._counts: dict[str, int] = {}

    def add(self, terms: Terms) -> None:
        """Adds one forward pass's terms."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Means since the last call, over the forward passes that had the term. Reads the device once."""
        names = sorted(self._sums)
        if not names:
            return {}
        values = torch.stack([self._sums[name].float() for name in names]).tolist()
        means = {name: value / self._counts[name] for name, value in zip(names, values, strict=True)}
        self._sums, self._counts = {}, {}
        return means


class MetricsLog:
    """metrics.jsonl: one JSON object a line, in the order of steps; the run's loggers hear the same.

    `first_step`: lines of later steps, written before a kill, are dropped, so that no step stands twice.
    """

    def __init__(
        self, folder: Path, *, first_step: int, loggers: Loggers | None = None, config: dict[str, Any] | None = None
    ) -> None:
        self._path, self._loggers = folder / NAME, loggers
        kept = [line for line in read_metrics(folder) if line["step"] <= first_step]
        try:
            with written_whole(self._path) as draft:
                draft.write_text("".join(json.dumps(line) + "\n" for line in kept))
        except OSError as error:
            raise unwritable(self._path, error) from error
        if loggers:
            loggers.begin(LoggedRun(path=folder, first_step=first_step, config=config or {}))

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one line. Raises InputError where it cannot be written."""
        try:
            with self._path.open("a") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        except OSError as error:
            raise unwritable(self._path, error) from error
        if self._loggers:
            self._loggers.write(step, metrics)


def with_precision(metrics: dict[str, float]) -> dict[str, float]:
    """Adds `pseudo_correct_*`, the right ones among the judged pseudo-labels; absent where none was judged.

    Where no video's truth is known, `pseudo_judged_*` and `pseudo_right_*` are left out: a 0 would be no figure.
    """
    if metrics.get("truth_known") == 0:
        return {name: value for name, value in metrics.items() if not name.startswith(_JUDGED)}
    added = {}
    for name, judged in metrics.items():
        network = name.removeprefix("pseudo_judged_")
        if network != name and judged > 0:
            added[f"pseudo_correct_{network}"] = metrics[f"pseudo_right_{network}"] / judged
    return metrics | added


def mean_over_ranks(metrics: dict[str, float], device: torch.device) -> dict[str, float]:
    """The mean of each metric over the ranks; all ranks give the same names."""
    if not torch.distributed.is_initialized():
        return metrics
    values: Tensor = torch.tensor([metrics[name] for name in sorted(metrics)], device=device)
    torch.distributed.all_reduce(values)
    means = (values / torch.distributed.get_world_size()).tolist()
    return dict(zip(sorted(metrics), means, strict=True))
