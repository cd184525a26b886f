"""The report's charts of one run: curves of training, confusion matrix, bars of classes.

Legend: K classes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cmpl.report.drawing import COLORS, DASHES, GRAY, HEIGHT, SERIES, WIDTH, as_percent, chart, label
from cmpl.report.values import NETWORKS, RunValues

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED, MOST_BARS = 40, 60
"""Classes that a matrix names at its sides; classes that get bars."""
MOST_POINTS = 400
"""Points of a curve; of more, means of neighbors are drawn."""
_LOSSES = {"supervised": "labeled", "unsupervised": "unlabeled"}


def curves(run: RunValues) -> "dict[str, Figure]":
    """The curves that the metrics allow, by name."""
    drawn = {
        "loss": _losses(run),
        "pseudo-labels": _pseudo_labels(run),
        "validation": _validation(run),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _losses(run: RunValues) -> "Figure | None":
    lines = {
        f"{network}, {word}": (f"loss_{kind}_{network}", COLORS[network], DASHES[k])
        for network in NETWORKS
        for k, (kind, word) in enumerate(_LOSSES.items())
    }
    known = {key for line in run.metrics for key in line if key.startswith("loss_")}
    others = sorted(known - {key for key, *_ in lines.values()})
    for k, key in enumerate(others):  # terms of other methods
        lines[key.removeprefix("loss_").replace("_", " ")] = (key, SERIES[4 + k % 4], DASHES[k % 4])
    return _curve_chart(run, lines, title="Loss, by its terms")


def _pseudo_labels(run: RunValues) -> "Figure | None":
    lines = {}
    for network in NETWORKS:
        lines[f"confident, teach {network}"] = (f"pseudo_share_{network}", COLORS[network], DASHES[1])
        lines[f"right of these, {network}"] = (f"pseudo_correct_{network}", COLORS[network], DASHES[0])
    figure = _curve_chart(run, lines, title="Pseudo-labels: confident, and right")
    return _shares(figure)


def _validation(run: RunValues) -> "Figure | None":
    lines = {"top-1, primary": ("val_top1", COLORS["primary"], DASHES[0])}
    for network in NETWORKS:
        lines[f"confident, {network}"] = (f"val_confident_share_{network}", COLORS[network], DASHES[1])
        lines[f"right of these, {network}"] = (f"val_confident_precision_{network}", COLORS[network], DASHES[2])
    return _shares(_curve_chart(run, lines, title="Validation during training, one clip"))


def _shares(figure: "Figure | None") -> "Figure | None":
    if figure is not None:
        figure.axes[0].set_ylim(0, 1.02)
        as_percent(figure.axes[0])
    return figure


def _curve_chart(run: RunValues, lines: Mapping[str, tuple[str, str, Any]], *, title: str) -> "Figure | None":
    found = {name: (run.series(key), color, dashes) for name, (key, color, dashes) in lines.items()}
    found = {name: item for name, item in found.items() if len(item[0][0])}
    if not found:
        return None
    figure, axes = chart(title=title)
    for name, ((steps, values), color, dashes) in found.items():
        steps, values = thinned(steps, values)
        marker = "o" if len(steps) == 1 else None
        axes.plot(steps, values, color=color, linestyle=dashes, marker=marker, label=name)
    axes.set_xlabel("step")
    axes.set_ylim(bottom=0)
    legend_below(axes, columns=2)
    return figure


def legend_below(axes: "Axes", *, columns: int) -> None:
    """Puts the legend under the chart, where it hides no line."""
    figure: Any = axes.figure
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over neighbors, at most MOST_POINTS of them."""
    if len(steps) <= MOST_POINTS:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), MOST_POINTS)
    return np.array([steps[part[-1]] for part in parts]), np.array([values[part].mean() for part in parts])


def confusion_of(truths: Sequence[str], named: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """(K, K) int64 counts: row the true class, column the named one."""
    index = {name: k for k, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for truth, name in zip(truths, named, strict=True):
        counts[index[truth], index[name]] += 1
    return counts


def most_confused(counts: np.ndarray, classes: Sequence[str], *, number: int) -> list[tuple[str, str, int, int]]:
    """(true class, named class, how many, of how many) of the most frequent mistakes."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:number]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return [(classes[i], classes[j], int(wrong[i, j]), int(counts[i].sum())) for i, j in pairs if wrong[i, j]]


def confusion(counts: np.ndarray, classes: Sequence[str]) -> "Figure":
    """The matrix in shares of each true class; up to MOST_NAMED classes are named, up to 20 have figures."""
    number = len(classes)
    side = max(WIDTH + 0.6, min(14.0, 3.0 + 0.26 * number)) if number <= MOST_NAMED else 7.0
    figure, axes = chart(title="Confusion: shares of each true class", width=side, height=side * 0.9)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.grid(visible=False)
    if number <= MOST_NAMED:
        names = [label(name, most=18) for name in classes]
        axes.set_xticks(range(number), names, rotation=90)
        axes.set_yticks(range(number), names)
        axes.tick_params(labelsize=8 if number > 15 else 9, length=0)
    axes.set_xlabel("named by the primary network")
    axes.set_ylabel("true class")
    if number <= 20:
        for i, j in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[i, j] > 0.55 else "black"
            axes.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", fontsize=8, color=color)
    figure.colorbar(image, ax=axes, shrink=0.6, format=lambda value, _: f"{100 * value:.0f}%")
    return figure


def class_bars(per_class: dict[str, dict[str, float]]) -> "Figure":
    """Top-1 of each class as bars, one a network, the primary's best class on top.

    per_class: network -> class -> share. Of more than MOST_BARS classes the best and the worst half of so many.
    """
    primary = per_class["primary"]
    ranked = sorted(primary, key=lambda name: (-primary[name], name))
    title = "Top-1 of each class"
    if len(ranked) > MOST_BARS:
        half = MOST_BARS // 2
        title = f"Top-1: {half} best, {half} worst of {len(ranked)}"
        ranked = [*ranked[:half], *ranked[-half:]]
    figure, axes = chart(title=title, width=WIDTH, height=max(HEIGHT, 1.1 + 0.3 * len(ranked)))
    places, thickness = np.arange(len(ranked)), 0.8 / len(per_class)
    for k, (network, shares) in enumerate(per_class.items()):
        values = [shares.get(name, 0.0) for name in ranked]
        offset = (k - (len(per_class) - 1) / 2) * thickness
        hatch = "" if network == "primary" else "////"
        axes.barh(
            places + offset, values, thickness, color=COLORS[network], label=network, hatch=hatch, edgecolor="white"
        )
    axes.set_yticks(places, [label(name) for name in ranked])
    axes.set_ylim(len(ranked) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    as_percent(axes, of="x")
    if len(per_class) > 1:
        legend_below(axes, columns=2)
    return figure


def compared(top1: dict[str, dict[str, float]], paper: dict[str, float]) -> "Figure":
    """Top-1 of runs side by side. top1: run -> network -> share; paper: run -> the paper's figure, where it has one."""
    figure, axes = chart(title="Top-1 of these runs", height=max(2.2, 1.2 + 0.5 * len(top1)))
    places, thickness = np.arange(len(top1)), 0.36
    for k, network in enumerate(NETWORKS):
        values = [shares.get(network, np.nan) for shares in top1.values()]
        if not np.isfinite(values).any():
            continue
        hatch = "" if network == "primary" else "////"
        at = places + (k - 0.5) * thickness
        bars = axes.barh(at, values, thickness, color=COLORS[network], label=network, hatch=hatch, edgecolor="white")
        axes.bar_label(bars, ["" if np.isnan(value) else f" {100 * value:.1f}" for value in values], fontsize=8)
    marks = [(place, paper[name]) for place, name in zip(places, top1, strict=True) if name in paper]
    if marks:
        heights, figures = zip(*marks, strict=True)
        axes.plot(figures, np.array(heights) - thickness / 2, "D", color=GRAY, label="the paper's")
    axes.set_yticks(places, [label(name) for name in top1])
    axes.set_ylim(len(top1) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    as_percent(axes, of="x")
    legend_below(axes, columns=3)
    return figure
