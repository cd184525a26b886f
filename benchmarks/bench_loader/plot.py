"""Draws the bar chart of `cmpl bench-loader` by matplotlib."""

import importlib.util
from pathlib import Path

from benchmarks.bench_loader.report import bars, rate
from benchmarks.bench_loader.rows import WHOLE, Measured
from pipelines.errors import InputError

STAGE_COLOR, WHOLE_COLOR = "#4678be", "#e18732"
TITLE = "Videos a second. Stages run alone, in one process. >: beyond the scale"


def check_plots(file: str) -> None:
    """Raises InputError, which names `--plot` and this file, where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            f"--plot: received {file!r}, which matplotlib draws, and that is not installed; accepted: nothing, or a "
            "file after `pip install 'cmpl[plots]'`"
        )


def save_plot(measured: Measured, file: Path) -> None:
    """Writes the bars as a PNG, the first row on top: single stages blue, whole runs orange."""
    from matplotlib.figure import Figure

    shown = bars(measured)
    figure = Figure(figsize=(9, 1 + 0.35 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.barh(
        [row.name for row, *_ in shown],
        [length for _, length, _ in shown],
        color=[WHOLE_COLOR if row.name in WHOLE else STAGE_COLOR for row, *_ in shown],
    )
    labels = [f"{rate(row.videos_per_second)}{' >' if is_cut_off else ''}" for row, _, is_cut_off in shown]
    axes.bar_label(drawn, labels, padding=4)
    axes.set_xlim(0, 1.15)  # room for the figure behind the longest bar
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.set_title(TITLE, loc="left")
    figure.savefig(file, format="png", dpi=120)
