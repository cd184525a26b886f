"""The report as one HTML page that loads nothing: runs side by side, then run by run."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from cmpl.report import charts
from cmpl.report.about import about, figures_of, percent
from cmpl.report.drawing import styled
from cmpl.report.markup import Gallery, facts, listed, paragraph, table, text
from cmpl.report.paper import Printed, printed_for
from cmpl.report.singles import singles
from cmpl.report.strips import Strips
from cmpl.report.style import STYLE
from cmpl.report.values import RunValues

MOST_SET_ASIDE, MOST_PAIRS = 50, 12


def page_of(
    runs: Sequence[RunValues],
    *,
    gallery: Gallery,
    num_videos: int,
    strips_of: Callable[[RunValues], Strips],
    version: str,
) -> str:
    """The page. num_videos: single videos shown of each kind, 0 for none; strips_of: opens a run's videos."""
    names = unique_names(runs)
    title = names[0] if len(runs) == 1 else f"{len(runs)} runs"
    with styled():
        parts = [_comparison(runs, names, gallery)]
        for run, name in zip(runs, names, strict=True):
            parts.append(_run(run, name, gallery, num_videos=num_videos, strips_of=strips_of))
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{text(title)} - cmpl report</title><style>{STYLE}</style></head>"
    )
    top = f"<h1>{text(title)}</h1>" + paragraph(f"Made by cmpl {version} from the runs' folders.", kind="soft")
    links = [f'<li><a href="#{anchor(name)}">{text(name)}</a></li>' for name in names] if len(runs) > 1 else []
    menu = f"<nav><ul>{''.join(links)}</ul></nav>" if links else ""
    return f"{head}<body><main>{top}{menu}{''.join(parts)}</main></body></html>\n"


def unique_names(runs: Sequence[RunValues]) -> list[str]:
    """The runs' names; their paths where two have one name."""
    names = [run.name for run in runs]
    return [str(run.path) if names.count(run.name) > 1 else run.name for run in runs]


def anchor(name: str) -> str:
    """A name as the target of a link, and as the beginning of a file's name."""
    return re.sub(r"[^A-Za-z0-9.+=-]+", "_", name).strip("_.") or "run"


def _comparison(runs: Sequence[RunValues], names: Sequence[str], gallery: Gallery) -> str:
    """The table of all runs beside the paper's figures, and with several runs a chart."""
    printed = [printed_for(run.config) for run in runs]
    rows = []
    for run, name, beside in zip(runs, names, printed, strict=True):
        top1 = [percent(run.result, network, "top1") for network in ("primary", "auxiliary")]
        paper, of = _paper(beside)
        data = f"{run.config.data.dataset}, {Path(run.config.data.labeled).name}"
        rows.append([name, run.config.method.name, data, *top1, percent(run.result, "primary", "top5"), paper, of])
    titles = ["run", "method", "data, labels", "top-1, primary", "auxiliary", "top-5, primary", "paper's top-1", "of"]
    parts = ["<h2>Results</h2>", table(titles, rows, name="results of the runs", numbers=(3, 4, 5, 6))]
    lines = [
        f"{name} is not as {beside.recipe} has it: {', '.join(beside.changed)}"
        for name, beside in zip(names, printed, strict=True)
        if beside is not None and beside.changed
    ]
    parts.append(listed(lines) if lines else "")
    if all(beside is None for beside in printed):
        parts.append(
            paragraph("None of these is a run of one of the paper's rows (`cmpl recipes` lists them).", kind="soft")
        )
    top1s = {name: figures_of(run.result) for name, run in zip(names, runs, strict=True) if run.result is not None}
    if len(top1s) > 1:
        marks = {
            name: beside.top1 / 100
            for name, beside in zip(names, printed, strict=True)
            if beside is not None and beside.is_of_run and beside.top1 is not None
        }
        chart = charts.compared(top1s, marks)
        parts.append(gallery.chart(chart, name="runs", about="Top-1 of these runs, side by side"))
    return "".join(parts)


def _paper(beside: Printed | None) -> tuple[str, str]:
    """(the paper's top-1, which row and data it is of)."""
    if beside is None:
        return "-", ""
    where = f"{beside.table}: {beside.label}"
    if beside.top1 is None:
        return "-", where
    return f"{beside.top1:g}%", where if beside.is_of_run else f"{where}, on {' '.join(beside.data)}"


def _run(
    run: RunValues, name: str, gallery: Gallery, *, num_videos: int, strips_of: Callable[[RunValues], Strips]
) -> str:
    """All of one run."""
    prefix = anchor(name)
    parts = [f'<section id="{prefix}"><h2>{text(name)}</h2>', facts(about(run))]
    if run.missing:
        parts.append('<div class="missing"><strong>Not in this report</strong>' + listed(run.missing) + "</div>")
    drawn = charts.curves(run)
    if drawn:
        pictures = [gallery.chart(figure, name=f"{prefix}-{kind}", about=kind) for kind, figure in drawn.items()]
        parts.append('<h3>Course of training</h3><div class="charts">' + "".join(pictures) + "</div>")
    parts.append(_classes(run, prefix, gallery))
    if run.videos and num_videos:
        parts.append(singles(run, prefix, gallery, number=num_videos, strips=strips_of(run)))
    parts.append(_set_aside(run))
    return "".join(parts) + "</section>"


def _classes(run: RunValues, prefix: str, gallery: Gallery) -> str:
    """Bars of the classes, and what is taken for what."""
    if run.result is None:
        return ""
    per_class = {network: run.result[network]["per_class"] for network in run.networks}
    bars = gallery.chart(
        charts.class_bars(per_class), name=f"{prefix}-classes", about="Top-1 of each class, of each network"
    )
    parts = ["<h3>Classes</h3>"]
    if not run.videos:
        return "".join([*parts, bars])
    classes = [name for name in run.classes if name in per_class["primary"]]
    named = {video.named for video in run.videos}
    classes += [name for name in run.classes if name in named and name not in classes]
    counts = charts.confusion_of([v.truth for v in run.videos], [v.named for v in run.videos], classes)
    matrix = gallery.chart(
        charts.confusion(counts, classes), name=f"{prefix}-confusion", about="Confusion matrix", is_wide=True
    )
    parts.append(f'<div class="charts">{bars}{matrix}</div>')
    if pairs := charts.most_confused(counts, classes, number=MOST_PAIRS):
        rows = [[truth, name, f"{wrong} of {number}"] for truth, name, wrong, number in pairs]
        titles = ["true class", "taken for", "videos"]
        parts += ["<h3>Most frequent mistakes</h3>", table(titles, rows, name="most frequent mistakes", numbers=(2,))]
    return "".join(parts)


def _set_aside(run: RunValues) -> str:
    """Videos that could not be used."""
    if not run.problems:
        return "<h3>Set-aside files</h3>" + paragraph("None.")
    shown = sorted(run.problems.items())[:MOST_SET_ASIDE]
    more = len(run.problems) - len(shown)
    parts = ["<h3>Set-aside files</h3>", paragraph(f"{len(run.problems)} could not be used.")]
    parts.append(table(["file", "reason"], shown, name="set-aside files"))
    if more:
        parts.append(paragraph(f"{more} more are in problems.json and result.json."))
    return "".join(parts)
