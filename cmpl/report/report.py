"""The report of runs: gathers, draws and writes one page."""

from collections.abc import Iterable
from pathlib import Path

import cmpl
from cmpl.report.drawing import check_plots
from cmpl.report.markup import Gallery
from cmpl.report.page import page_of
from cmpl.report.strips import Strips
from cmpl.report.values import RunValues, runs_at
from pipelines.errors import InputError
from pipelines.files import written_whole
from pipelines.progress import Progress, no_progress


def write_report(
    paths: Iterable[Path | str],
    *,
    out: Path,
    pictures: Path | None = None,
    data_root: str | None = None,
    num_videos: int = 6,
    progress: Progress = no_progress,
) -> list[RunValues]:
    """Writes the page of the runs in the folders `paths`; gives their values.

    pictures: a folder that gets every picture as a file too. data_root: where the data sets lie now. num_videos: single
    videos shown of each kind.
    Raises InputError where there is no run, matplotlib is missing, or nothing can be written.
    """
    check_plots("cmpl report")
    if not out.absolute().parent.is_dir():
        raise InputError(f"--out: received {str(out)!r}, in a folder that does not exist; accepted: a file to write")
    runs = runs_at(paths)

    def strips_of(run: RunValues) -> Strips:
        return Strips(run, data_root=data_root, progress=progress)

    page = page_of(
        runs, gallery=Gallery(pictures), num_videos=num_videos, strips_of=strips_of, version=cmpl.__version__
    )
    with written_whole(out, field="--out") as draft:
        draft.write_text(page, encoding="utf-8")
    return runs
