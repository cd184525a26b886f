"""Which of the runs that were given play which part in a figure of the paper; what does not fit is refused."""

from collections.abc import Callable, Sequence

import numpy as np

from cmpl.report.about import num_parameters, short_name
from cmpl.report.values import RunValues
from pipelines.errors import InputError

Group = list[RunValues]
"""Runs of one experiment, such as several labeled subsets: their figures are averaged."""


def refused(received: str, *, accepted: str, recipes: Sequence[str]) -> InputError:
    """The error of runs that do not fit: names the recipes that make fitting ones."""
    return InputError(
        f"RUNS: received {received}; accepted: {accepted}, as `cmpl train --recipe` makes of {', '.join(recipes)}"
    )


def of_method(runs: Sequence[RunValues], method: str, *, recipes: Sequence[str]) -> Group:
    """The runs of a method. Raises InputError where there is none."""
    found = [run for run in runs if run.config.method.name == method]
    if not found:
        raise refused(f"no run of method {method}", accepted="at least one", recipes=recipes)
    return found


def only(group: Group, *, what: str) -> RunValues:
    """The single run of a group. Raises InputError for several."""
    if len(group) > 1:
        raise InputError(f"RUNS: received {len(group)} runs of {what} ({names(group)}); accepted: one")
    return group[0]


def check_kinds(runs: Sequence[RunValues], methods: Sequence[str], *, recipes: Sequence[str]) -> None:
    """Raises InputError where a run is of another method."""
    strange = [run for run in runs if run.config.method.name not in methods]
    if strange:
        received = f"{strange[0].name} of method {strange[0].config.method.name}"
        raise refused(received, accepted=f"runs of {' and '.join(methods)}", recipes=recipes)


def check_results(runs: Sequence[RunValues]) -> None:
    """Raises InputError where a run was not evaluated."""
    for run in runs:
        if run.result is None:
            raise InputError(f"{run.path}: not evaluated yet; accepted: a finished run, or one after `cmpl eval`")


def check_same_videos(runs: Sequence[RunValues], *, part: str, recipes: Sequence[str]) -> None:
    """Raises InputError where runs differ in classes, or in the videos of a part of their listings."""
    first = runs[0]
    for run in runs[1:]:
        same_classes = set(run.classes) == set(first.classes)
        if not same_classes or _digest(run, part) != _digest(first, part):
            what = f"{part} videos" if same_classes else "classes"
            raise refused(
                f"{first.name} and {run.name}, of other {what}", accepted="runs on one data set", recipes=recipes
            )


def _digest(run: RunValues, part: str) -> str | None:
    videos = None if run.facts is None else run.facts.identity.videos.get(part)
    return None if videos is None else videos.sha256


def by_network(runs: Sequence[RunValues]) -> list[tuple[str, Group]]:
    """Groups of runs with one primary network and clip, each with its name; the network of most parameters first."""
    groups: dict[tuple[str, str], Group] = {}
    for run in runs:
        groups.setdefault((short_name(run.config.primary), run.config.clip.primary), []).append(run)
    clips = {clip for _, clip in groups}
    named = [(name if len(clips) == 1 else f"{name}, {clip}", group) for (name, clip), group in groups.items()]
    return sorted(named, key=lambda item: -_size(item[1][0]))


def _size(run: RunValues) -> int:
    return num_parameters(run.config.primary, num_classes=len(run.classes) or 1) or 0


def per_class(group: Group, network: str = "primary") -> dict[str, float]:
    """Top-1 of each class, averaged over the runs of a group."""
    results = [run.result[network]["per_class"] for run in group if run.result is not None]
    return {name: float(np.mean([each[name] for each in results])) for name in results[0]}


def names(runs: Sequence[RunValues]) -> str:
    """The runs' names, in one line."""
    return ", ".join(run.name for run in runs)


def mean_curve(
    group: Group, curve: Callable[[RunValues], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """(x, mean y) of the runs' curves, each read at the points of the shortest one."""
    curves = [curve(run) for run in group]
    x = min((xs for xs, _ in curves), key=lambda xs: xs[-1])
    return x, np.mean([np.interp(x, xs, ys) for xs, ys in curves], axis=0)
