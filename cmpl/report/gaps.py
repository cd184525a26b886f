"""Figures 1 and 7: classes on which one network is better than another, and what goes with it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cmpl.report.about import short_name
from cmpl.report.charts import legend_below
from cmpl.report.choosing import (
    by_network,
    check_kinds,
    check_results,
    check_same_videos,
    of_method,
    per_class,
    refused,
)
from cmpl.report.drawing import BLUE, ORANGE, RED, WIDTH, as_percent, chart, label
from cmpl.report.values import RunValues

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_1 = ("table1-supervised", "fig1-auxiliary")
FIGURE_7 = ("table1-cmpl-r50", "table1-fixmatch-r50", "fig1-auxiliary")
BIN = 0.05
MOST_NAMED = 30
"""Classes that are named under their bars; of more, so many at each end as there is room for."""
NAMED_AT_ENDS = 3


def gaps_of(small: Mapping[str, float], large: Mapping[str, float]) -> list[tuple[str, float]]:
    """(class, Acc_s - Acc_l) of the classes that both have, the greatest gap first."""
    gaps = [(name, small[name] - large[name]) for name in small if name in large]
    return sorted(gaps, key=lambda item: (-item[1], item[0]))


def category_gap(runs: Sequence[RunValues]) -> "Figure":
    """Figure 1: Acc_s - Acc_l of each class, of two networks that learned from labels alone.

    Raises InputError where the runs are not those of two networks on one data set.
    """
    from matplotlib.patches import Patch

    check_kinds(runs, ("supervised",), recipes=FIGURE_1)
    check_results(runs)
    check_same_videos(runs, part="validation", recipes=FIGURE_1)
    groups = by_network(runs)
    if len(groups) != 2:
        received = f"runs of {len(groups)} network{'' if len(groups) == 1 else 's'}"
        raise refused(received, accepted="of two, a large and a small one", recipes=FIGURE_1)
    (large_name, large), (small_name, small) = groups
    gaps = gaps_of(per_class(small), per_class(large))
    values = np.array([gap for _, gap in gaps])
    figure, axes = chart(title="Category-wise gap of two networks, supervised", width=max(WIDTH, 7.0), height=3.8)
    colors = [ORANGE if value > 0 else BLUE for value in values]
    places = np.arange(len(gaps))
    axes.bar(places, values, color=colors, width=0.8)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("Acc_s − Acc_l")
    as_percent(axes)
    ends = places if len(gaps) <= MOST_NAMED else np.r_[places[:NAMED_AT_ENDS], places[-NAMED_AT_ENDS:]]
    axes.set_xticks(ends, [label(gaps[place][0], most=22) for place in ends], rotation=60, ha="right")
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(visible=False, axis="x")
    kinds = ((ORANGE, f"better: small ({small_name})"), (BLUE, f"better: large ({large_name})"))
    patches = [Patch(color=color, label=name) for color, name in kinds]
    figure.legend(handles=patches, loc="outside lower center", ncols=2)
    return figure


def binned(x: np.ndarray, y: np.ndarray, *, width: float = BIN) -> tuple[np.ndarray, np.ndarray]:
    """(center, mean of y) of each bin of x that holds anything. x in [0, 1]: the last bin holds 1 too."""
    last = round(1 / width) - 1
    places = np.minimum(np.floor(np.round(np.asarray(x) / width, 9)), last).astype(np.int64)
    used = np.unique(places)
    return (used + 0.5) * width, np.array([np.asarray(y)[places == place].mean() for place in used])


def least_squares(x: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
    """(slope, intercept) of the line with the least squared distance in y; None where all x are one."""
    spread = x - x.mean()
    square = float((spread**2).sum())
    if square == 0:
        return None
    slope = float((spread * (y - y.mean())).sum()) / square
    return slope, float(y.mean() - slope * x.mean())


def primary_gain(runs: Sequence[RunValues]) -> "Figure":
    """Figure 7: gain of the primary network by CMPL over FixMatch, against the auxiliary network's accuracy alone.

    Each point is the mean gain of the classes in a bin of 0.05.
    Raises InputError where runs are missing, or do not fit.
    """
    check_kinds(runs, ("cmpl", "fixmatch", "supervised"), recipes=FIGURE_7)
    check_results(runs)
    check_same_videos(runs, part="validation", recipes=FIGURE_7)
    cmpl, fixmatch, alone = (of_method(runs, name, recipes=FIGURE_7) for name in ("cmpl", "fixmatch", "supervised"))
    wanted = short_name(cmpl[0].config.auxiliary)
    for run in alone:
        if short_name(run.config.primary) != wanted:
            received = f"{run.name}, a {short_name(run.config.primary)} alone"
            raise refused(received, accepted=f"the auxiliary network of {cmpl[0].name}, {wanted}", recipes=FIGURE_7)
    accuracy, with_cmpl, without = (per_class(group) for group in (alone, cmpl, fixmatch))
    classes = [name for name in accuracy if name in with_cmpl and name in without]
    x = np.array([accuracy[name] for name in classes])
    y = np.array([with_cmpl[name] - without[name] for name in classes])
    centers, means = binned(x, y)
    figure, axes = chart(title="Primary gain against auxiliary accuracy")
    axes.plot(centers, means, "o", color=RED, label=f"mean gain of a bin of {BIN:g}")
    if line := least_squares(centers, means):
        ends = np.array([centers.min(), centers.max()])
        slope, intercept = line
        axes.plot(ends, slope * ends + intercept, color=BLUE, label=f"least squares: slope {slope:.2f}")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("accuracy of the auxiliary network alone")
    axes.set_ylabel("gain of the primary network")
    as_percent(axes)
    as_percent(axes, of="x")
    legend_below(axes, columns=2)
    return figure
