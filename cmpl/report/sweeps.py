"""Figure 4: top-1 over the threshold, the ratio of unlabeled to labeled videos, and the weight of unlabeled losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cmpl.config import Config
from cmpl.recipes.registry import ROWS
from cmpl.report.charts import legend_below
from cmpl.report.choosing import check_kinds, check_results, refused
from cmpl.report.drawing import BLUE, GRAY
from cmpl.report.values import RunValues

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPES = tuple(name for name in ROWS if name.startswith("fig4-"))
BASE = {"tau": 0.9, "ratio": 5.0, "lambda": 5.0}
"""What two of the three are while the third is varied (Sec. 4.3)."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One panel."""

    name: str
    title: str
    axis: str
    value: Callable[[Config], float]


def _threshold(config: Config) -> float:
    return config.method.least_confidence or 0.0


def _ratio(config: Config) -> float:
    return config.batch.unlabeled / config.batch.labeled


def _weight(config: Config) -> float:
    return config.method.unlabeled_weight


SWEEPS = (
    Sweep(name="tau", title="(a) Threshold", axis="tau", value=_threshold),
    Sweep(name="ratio", title="(b) Batch ratio", axis="B_u / B_l", value=_ratio),
    Sweep(name="lambda", title="(c) Loss weight", axis="lambda", value=_weight),
)


def points_of(runs: Sequence[RunValues], sweep: Sweep) -> dict[float, list[float]]:
    """Value -> top-1 in percent of each run, of the runs whose two other settings are those of BASE."""
    points: dict[float, list[float]] = {}
    for run in runs:
        others = (other for other in SWEEPS if other is not sweep)
        if run.result is not None and all(np.isclose(one.value(run.config), BASE[one.name]) for one in others):
            points.setdefault(sweep.value(run.config), []).append(100 * run.result["primary"]["top1"])
    return dict(sorted(points.items()))


def printed_of(sweep: Sweep, data: tuple[str, str]) -> dict[float, float]:
    """Value -> the paper's top-1 in percent on the same data, where its text settles it."""
    rows = (ROWS[name] for name in RECIPES if name.startswith(f"fig4-{sweep.name}-"))
    return {float(row.name.rpartition("-")[2]): row.expected[data] for row in rows if data in row.expected}


def sweeps(runs: Sequence[RunValues]) -> "Figure":
    """Figure 4: the panels that the runs have points of. Several runs of a point are averaged, their spread is drawn.

    Raises InputError for runs that no recipe of Figure 4 made, and where no panel has two points.
    """
    check_kinds(runs, ("cmpl",), recipes=RECIPES)
    strange = [run.name for run in runs if run.config.recipe not in RECIPES]
    if strange:
        raise refused(f"{strange[0]}, made by no recipe of Figure 4", accepted="runs of these", recipes=RECIPES)
    check_results(runs)
    data = {(run.config.data.dataset, run.config.data.labeled) for run in runs}
    if len(data) > 1:
        received = " and ".join(sorted(" ".join(one) for one in data))
        raise refused(f"runs on {received}", accepted="runs on one data set and share of labels", recipes=RECIPES)
    panels = {sweep: points for sweep in SWEEPS if len(points := points_of(runs, sweep)) > 1}
    if not panels:
        raise refused(
            "no two runs that differ in one setting", accepted="two points of a panel or more", recipes=RECIPES
        )
    return _drawn(panels, data.pop())


def _drawn(panels: dict[Sweep, dict[float, list[float]]], data: tuple[str, str]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(panels) + 0.6, 3.4), layout="constrained")
    every = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (sweep, points) in zip(every, panels.items(), strict=True):
        places = np.arange(len(points))
        means = [float(np.mean(values)) for values in points.values()]
        spread = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for values in points.values()]
        axes.errorbar(places, means, yerr=spread, color=BLUE, marker="o", capsize=3, label="here")
        for place, mean in zip(places, means, strict=True):
            axes.annotate(f"{mean:.1f}", (place, mean), (0, 7), textcoords="offset points", ha="center", fontsize=8)
        printed = printed_of(sweep, data)
        marks = [(place, printed[value]) for place, value in zip(places, points, strict=True) if value in printed]
        if marks:
            axes.plot(*zip(*marks, strict=True), "D", color=GRAY, label="the paper's")
        axes.set_xticks(places, [f"{value:g}" for value in points])
        axes.set_xlim(-0.4, len(points) - 0.6)
        axes.margins(y=0.2)
        axes.set_title(sweep.title, loc="left")
        axes.set_xlabel(sweep.axis)
    every[0].set_ylabel("top-1, %")
    legend_below(every[0], columns=2)
    return figure
