"""One style for all drawings: colors that color-blind people tell apart, sizes for a phone, text that cannot be markup.

matplotlib is imported when something is drawn.
"""

import contextlib
import importlib.util
import io
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.files import written_whole
from pipelines.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GRAY = "#0072b2", "#d55e00", "#007a5e", "#b0004e", "#5f6368"
"""After Okabe and Ito, darkened to a contrast of 4.5 with white. The paper's own: blue primary, orange auxiliary, green
FixMatch."""
COLORS = {"primary": BLUE, "auxiliary": ORANGE, "fixmatch": GREEN}
SERIES = (BLUE, ORANGE, GREEN, RED, GRAY, "#8a6d00", "#7a4fbf", "#00799e")
"""Colors of things that have none of their own, in order."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
"""Line styles: color is never all that tells lines apart."""
WIDTH, HEIGHT = 4.6, 3.1
"""Inches of a chart: as wide as a phone shows it without making its text too small."""
FORMATS = (".png", ".svg", ".pdf")
MOST_LETTERS = 28
_STYLE: Any = {
    "font.size": 10,
    "font.family": ["DejaVu Sans", "sans-serif"],
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "cmpl",
    "text.parse_math": False,
}


def check_plots(field: str) -> None:
    """Raises InputError, which names the command `field`, where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            f"{field}: received a drawing to make, and matplotlib is not installed; accepted: after "
            "`pip install 'cmpl[plots]'`"
        )


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draws the block in this project's style. Letters that the font lacks are drawn as boxes, without a warning."""
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def chart(*, title: str, width: float = WIDTH, height: float = HEIGHT) -> "tuple[Figure, Axes]":
    """An empty chart with a title, in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(label(title, most=120), loc="left")
    return figure, axes


def label(text: str, *, most: int = MOST_LETTERS) -> str:
    """A name from outside as text of a drawing: printable, on one line, shortened in its middle to `most` letters.

    Letters of East Asia are twice as wide and count so.
    """
    plain = printable(text).replace("\n", " ").replace("\t", " ")
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in plain)
    if len(plain) + wide <= most:
        return plain
    kept = most // 2 if wide * 2 > len(plain) else most
    half = (kept - 1) // 2
    return f"{plain[: kept - 1 - half]}…{plain[-half:]}"


def as_percent(axes: "Axes", *, of: str = "y") -> None:
    """Numbers an axis of shares in percent."""
    axis = axes.yaxis if of == "y" else axes.xaxis
    axis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%".replace("-", "−"))


def svg(figure: "Figure") -> bytes:
    """The drawing as an SVG file, the same bytes for the same drawing."""
    return _saved(figure, "svg")


def png(figure: "Figure") -> bytes:
    """The drawing as a PNG file of 200 pixels an inch."""
    return _saved(figure, "png")


def save_figure(figure: "Figure", file: Path, *, field: str = "--out") -> None:
    """Writes a drawing by the file's suffix, whole or not at all. Raises InputError for another suffix than FORMATS."""
    check_format(file, field=field)
    content = _saved(figure, file.suffix.lower().removeprefix("."))
    with written_whole(file, field=field) as draft:
        draft.write_bytes(content)


def check_format(file: Path, *, field: str = "--out") -> None:
    """Raises InputError for a suffix that no drawing has, and for a folder that is not there."""
    if file.suffix.lower() not in FORMATS:
        raise InputError(f"{field}: received {str(file)!r}; accepted: a file that ends in {', '.join(FORMATS)}")
    if not file.absolute().parent.is_dir():
        raise InputError(f"{field}: received {str(file)!r}, in a folder that does not exist; accepted: a file to write")


def _saved(figure: "Figure", kind: str) -> bytes:
    stream = io.BytesIO()
    about = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {"Software": None})
    with styled():
        figure.savefig(stream, format=kind, dpi=200, metadata=about)
    return stream.getvalue()
