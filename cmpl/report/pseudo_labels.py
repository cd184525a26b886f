"""Figures 2 and 6: how good pseudo-labels are as training goes on, by the truth that no loss has seen."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cmpl.report.charts import legend_below, thinned
from cmpl.report.choosing import check_kinds, check_same_videos, mean_curve, of_method, only, refused
from cmpl.report.drawing import BLUE, DASHES, GREEN, ORANGE, as_percent, chart
from cmpl.report.values import RunValues
from cmpl.training.answers import Answers
from pipelines.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPES = ("table1-cmpl-r50", "table1-fixmatch-r50")
METHODS = ("cmpl", "fixmatch")
PRIMARY, AUXILIARY, FIXMATCH = "Primary of CMPL", "Auxiliary of CMPL", "Backbone of FixMatch"


def ratio_of_right(run: RunValues, *, network: str) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, share) of right pseudo-labels that teach a network, among the unlabeled videos of known class.

    Raises InputError where none was logged: the classes are not known, or training was too short.
    """
    steps, right = run.series(f"pseudo_right_{network}")
    if not len(steps):
        raise InputError(
            f"{run.path}: has no share of right pseudo-labels; accepted: a run that has reported some steps with them, "
            "on a data set that knows the classes of its unlabeled training videos"
        )
    known_steps, known = run.series("truth_known")
    shares = dict(zip(known_steps.tolist(), known.tolist(), strict=True))
    of_known = np.array([shares.get(step, 1.0) for step in steps.tolist()])
    return steps / (run.steps_an_epoch or 1.0), right / of_known


def ratio_of_correct(runs: Sequence[RunValues]) -> "Figure":
    """Figure 2: right pseudo-labels as a share of all unlabeled videos, CMPL against FixMatch.

    Several runs of a method, such as labeled subsets, are averaged. Raises InputError for runs that do not fit.
    """
    check_kinds(runs, METHODS, recipes=RECIPES)
    check_same_videos(runs, part="unlabeled", recipes=RECIPES)
    cmpl, fixmatch = (of_method(runs, method, recipes=RECIPES) for method in METHODS)
    lines = (
        ("CMPL, for the primary", cmpl, "primary", BLUE, DASHES[0]),
        ("CMPL, for the auxiliary", cmpl, "auxiliary", ORANGE, DASHES[1]),
        ("FixMatch", fixmatch, "primary", GREEN, DASHES[2]),
    )
    figure, axes = chart(title="Ratio of correct pseudo-labels")
    for name, group, network, color, dashes in lines:
        x, y = thinned(*mean_curve(group, functools.partial(ratio_of_right, network=network)))
        axes.plot(x, y, color=color, linestyle=dashes, label=name, marker="o" if len(x) == 1 else None)
    axes.set_xlabel("epochs of the unlabeled videos" if runs[0].steps_an_epoch else "steps")
    axes.set_ylabel("right, of all unlabeled videos")
    axes.set_ylim(bottom=0)
    as_percent(axes)
    legend_below(axes, columns=2)
    return figure


def right_where_sure(
    cmpl: Answers, fixmatch: Answers, truth: np.ndarray, *, threshold: float
) -> dict[str, float] | None:
    """Accuracy of the three sources on the videos that the auxiliary network of CMPL gives pseudo-labels (Sec. 4.4).

    truth: (N,) class of each unlabeled video, -1 where unknown. Counted are videos of known class that both runs saw in
    their spans. None where there is none.
    """
    videos, at_cmpl, at_fixmatch = np.intersect1d(cmpl.videos, fixmatch.videos, assume_unique=True, return_indices=True)
    chosen = (cmpl.confidences["auxiliary"][at_cmpl] >= threshold) & (truth[videos] >= 0)
    if not chosen.any():
        return None
    right = truth[videos[chosen]]
    named = {
        PRIMARY: cmpl.classes["primary"][at_cmpl],
        AUXILIARY: cmpl.classes["auxiliary"][at_cmpl],
        FIXMATCH: fixmatch.classes["primary"][at_fixmatch],
    }
    return {source: float((classes[chosen] == right).mean()) for source, classes in named.items()}


def sources(runs: Sequence[RunValues]) -> "Figure":
    """Figure 6: accuracy of three sources of pseudo-labels on the videos that the auxiliary network labels.

    Raises InputError for runs that do not fit.
    """
    check_kinds(runs, METHODS, recipes=RECIPES)
    cmpl, fixmatch = (only(of_method(runs, method, recipes=RECIPES), what=method) for method in METHODS)
    check_same_videos([cmpl, fixmatch], part="unlabeled", recipes=RECIPES)
    points = points_of(cmpl, fixmatch)
    figure, axes = chart(title="Accuracy where the auxiliary gives pseudo-labels")
    x = np.array([epoch for epoch, _ in points])
    styles = ((PRIMARY, BLUE, DASHES[0], "o"), (AUXILIARY, ORANGE, DASHES[1], "s"), (FIXMATCH, GREEN, DASHES[2], "^"))
    for source, color, dashes, marker in styles:
        y = [accuracy[source] for _, accuracy in points]
        axes.plot(x, y, color=color, linestyle=dashes, marker=marker, markersize=4, label=source)
    axes.set_xlabel("epochs of the unlabeled videos")
    axes.set_ylabel("accuracy of pseudo-labels")
    axes.set_ylim(bottom=0)
    as_percent(axes)
    legend_below(axes, columns=2)
    return figure


def points_of(cmpl: RunValues, fixmatch: RunValues) -> list[tuple[float, dict[str, float]]]:
    """(epoch, accuracy of each source) of the spans of training that both runs kept answers of."""
    truth, threshold = cmpl.truth, cmpl.config.method.least_confidence
    if truth is None or not (truth >= 0).any():
        raise InputError(
            f"{cmpl.path}: knows no class of an unlabeled video; accepted: a run on a data set that does, such as "
            "k400, ucf101 or demo"
        )
    others = {_share(answers, fixmatch): answers for answers in fixmatch.answers}
    points = []
    for answers in cmpl.answers:
        other = others.get(_share(answers, cmpl))
        if other is None or "auxiliary" not in answers.classes:
            continue
        accuracy = right_where_sure(answers, other, truth, threshold=threshold or 0.0)
        if accuracy is not None:
            points.append((answers.span.last_step / (cmpl.steps_an_epoch or 1.0), accuracy))
    if not points:
        raise refused(
            f"{cmpl.name} and {fixmatch.name}, with no epoch of pseudo-labels that both kept",
            accepted="runs of one length with runtime.recorded_epochs above 0",
            recipes=RECIPES,
        )
    return points


def _share(answers: Answers, run: RunValues) -> float:
    """Where in training a span ends, 0 to 1: runs of other batches are compared by that."""
    return round(answers.span.last_step / (run.num_steps or run.last_step), 3)
