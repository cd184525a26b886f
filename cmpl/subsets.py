"""The paper's protocol: several labeled subsets, one run each, the mean of their results (Sec. 4.1)."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

from cmpl.config import Config, with_settings
from cmpl.session import Outcome, train
from cmpl.training.reporter import Reporter
from pipelines.errors import InputError
from pipelines.files import written_whole


def train_subsets(
    config: Config, *, num_subsets: int, path: Path, reporter: Reporter, tune_loader: bool = False
) -> list[Outcome]:
    """Trains `path/subset-0`, ... with split seeds 0, 1, ... one after another; writes `path/subsets.json`.

    The networks' seed stays. Ends early, with a result of None last, where a signal stopped a run; the same call goes
    on from there. Raises InputError as `cmpl.session.train` does, and where all subsets would be the same.
    """
    _check_drawn(config, num_subsets=num_subsets)
    outcomes = []
    for split_seed in range(num_subsets):
        reporter.note(f"labeled subset {split_seed} of {num_subsets}")
        subset = with_settings(config, {"data.split_seed": str(split_seed)})
        outcomes.append(train(subset, path=path / f"subset-{split_seed}", reporter=reporter, tune_loader=tune_loader))
        if outcomes[-1].result is None:
            return outcomes
    with written_whole(path / "subsets.json") as draft:
        draft.write_text(
            json.dumps(summary([outcome.result for outcome in outcomes if outcome.result is not None]), indent=1) + "\n"
        )
    return outcomes


def _check_drawn(config: Config, *, num_subsets: int) -> None:
    data = config.data
    if data.split_seed != 0:
        raise InputError(
            f"data.split_seed: received {data.split_seed}, but several subsets take 0 to {num_subsets - 1}; accepted: 0"
        )
    if data.labeled in ("all", "100pct") or "/" in data.labeled:
        raise InputError(
            f"data.labeled: received {data.labeled!r}, of which there are no several subsets; accepted: 1pct, 10pct, "
            "any <number>pct below 100, or a number of videos per class"
        )


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """{network: {"top1": {"mean", "standard_deviation", "standard_error", "each"}, "top5": ...}} over the runs."""
    return {
        network: {name: spread([result[network][name] for result in results]) for name in ("top1", "top5")}
        for network in ("primary", "auxiliary")
        if all(network in result for result in results)
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and standard error of the mean (None for one value), and the values."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    error = deviation / math.sqrt(len(values)) if deviation is not None else None
    return {"mean": statistics.fmean(values), "standard_deviation": deviation, "standard_error": error, "each": values}
