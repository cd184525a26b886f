"""Figure 5: how much accuracy two networks lose where clips show fewer and fewer different frames."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cmpl.report.charts import legend_below
from cmpl.report.choosing import by_network, check_kinds, check_same_videos, refused
from cmpl.report.drawing import COLORS, DASHES, SERIES, as_percent, chart
from cmpl.report.values import RunValues
from pipelines.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPES = ("table1-supervised", "fig5-auxiliary")
STRIDES = (1, 2, 4, 8)


def top1_by_stride(run: RunValues) -> dict[int, float]:
    """Top-1 of the primary network at each of STRIDES, of one checkpoint, clips and crops: the newest that has all.

    Raises InputError where a stride is missing, and says by which commands it is had.
    """
    found: dict[tuple[Any, ...], dict[int, float]] = {}
    for result in _results(run):
        views = (result.get("step", result.get("steps")), result.get("clips"), result.get("crops"))
        top1 = found.pop(views, {})
        found[views] = top1 | {int(result.get("clip_stride", 1)): float(result["primary"]["top1"])}
    whole = [top1 for top1 in found.values() if set(STRIDES) <= set(top1)]
    if not whole:
        views, most = max(found.items(), key=lambda item: len(item[1]), default=((None, None, None), {}))
        missing = [stride for stride in STRIDES if stride not in most]
        same = f" --clips {views[1]} --crops {views[2]}" if views[1] else ""
        commands = "; ".join(f"cmpl eval {run.path}{same} --clip-stride {stride}" for stride in missing)
        raise InputError(
            f"{run.path}: has no evaluation at clip stride {', '.join(map(str, missing))}; accepted: all of "
            f"{', '.join(map(str, STRIDES))} with the same clips and crops: {commands}"
        )
    return {stride: whole[-1][stride] for stride in STRIDES}


def _results(run: RunValues) -> list[dict[str, Any]]:
    own = [run.result] if run.is_finished and run.result is not None else []
    return [*own, *run.evaluations]


def drop_ratios(top1: dict[int, float]) -> list[float]:
    """(accuracy - accuracy at stride 1) / accuracy at stride 1, at each of STRIDES. Raises InputError at 0 of 1."""
    if top1[1] == 0:
        raise InputError("top-1 at clip stride 1: received 0, of which there is no share; accepted: above 0")
    return [(top1[stride] - top1[1]) / top1[1] for stride in STRIDES]


def accuracy_drop(runs: Sequence[RunValues]) -> "Figure":
    """Figure 5: drop ratio of two or more networks over the stride. Several runs of a network are averaged.

    Raises InputError for runs that do not fit, and where evaluations are missing.
    """
    check_kinds(runs, ("supervised",), recipes=RECIPES)
    check_same_videos(runs, part="validation", recipes=RECIPES)
    groups = by_network(runs)
    if len(groups) < 2:
        raise refused("runs of 1 network", accepted="of two, a large and a small one", recipes=RECIPES)
    figure, axes = chart(title="Accuracy drop with clips re-sampled")
    places = np.arange(len(STRIDES))
    colors = [*COLORS.values(), *SERIES[3:]]
    for k, (name, group) in enumerate(groups):
        drops = np.mean([drop_ratios(top1_by_stride(run)) for run in group], axis=0)
        axes.plot(
            places, drops, color=colors[k % len(colors)], linestyle=DASHES[k % 4], marker="os^D"[k % 4], label=name
        )
    axes.set_xticks(places, [str(stride) for stride in STRIDES])
    axes.set_xlabel("stride (temporal dynamics: high to low)")
    axes.set_ylabel("accuracy drop ratio")
    as_percent(axes)
    legend_below(axes, columns=2)
    return figure
