"""The paper's figures by number: what each shows, which recipes make its runs, who draws it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cmpl.report import gaps, pseudo_labels, strides, sweeps
from cmpl.report.drawing import check_format, check_plots, save_figure, styled
from cmpl.report.values import RunValues, runs_at
from pipelines.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """One figure of the paper."""

    number: int
    about: str
    recipes: tuple[str, ...]  # that make its runs
    draw: "Callable[[Sequence[RunValues]], Figure]"
    clip_strides: tuple[int, ...] = ()  # at which each run is evaluated besides


FIGURES = {
    figure.number: figure
    for figure in (
        PaperFigure(number=1, about="Category-wise gap of two networks", recipes=gaps.FIGURE_1, draw=gaps.category_gap),
        PaperFigure(
            number=2,
            about="Ratio of correct pseudo-labels",
            recipes=pseudo_labels.RECIPES,
            draw=pseudo_labels.ratio_of_correct,
        ),
        PaperFigure(number=4, about="Three sweeps", recipes=sweeps.RECIPES, draw=sweeps.sweeps),
        PaperFigure(
            number=5,
            about="Accuracy drop with clips re-sampled",
            recipes=strides.RECIPES,
            draw=strides.accuracy_drop,
            clip_strides=strides.STRIDES,
        ),
        PaperFigure(
            number=6,
            about="Accuracy of three sources of pseudo-labels",
            recipes=pseudo_labels.RECIPES,
            draw=pseudo_labels.sources,
        ),
        PaperFigure(
            number=7, about="Primary gain against auxiliary accuracy", recipes=gaps.FIGURE_7, draw=gaps.primary_gain
        ),
    )
}


def figure_numbered(number: int) -> PaperFigure:
    """A figure of the paper. Raises InputError for another number."""
    if number not in FIGURES:
        raise InputError(f"NUMBER: received {number}; accepted: {', '.join(map(str, FIGURES))}")
    return FIGURES[number]


def draw_figure(number: int, paths: Iterable[Path | str], *, out: Path) -> None:
    """Draws a figure of the runs in the folders `paths` and writes it by the suffix of `out`.

    Raises InputError for another number, for runs that do not fit, without matplotlib, and where `out` cannot be
    written.
    """
    figure = figure_numbered(number)
    check_plots("cmpl figure")
    check_format(out)
    found = list(paths)
    if not found:
        raise InputError(
            f"RUNS: received none; accepted: folders of runs, as `cmpl train --recipe` makes of "
            f"{', '.join(figure.recipes)}; or --demo"
        )
    with styled():
        drawn = figure.draw(runs_at(found))
    save_figure(drawn, out)
