"""Small parts of an HTML page. Every text is escaped here: names of files and classes come from outside."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cmpl.report.drawing import png, svg
from cmpl.report.strips import jpeg
from pipelines.errors import InputError
from pipelines.files import written_whole
from pipelines.printable import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def text(value: object) -> str:
    """A value as text of a page, also within an attribute in double quotes."""
    return html.escape(printable(str(value)), quote=True)


def prose(value: str) -> str:
    """A sentence as text of a page; what stands between backticks is a command."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text(value))


def paragraph(value: str, *, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{_class(kind)}>{prose(value)}</p>"


def box(content: str, *, name: str) -> str:
    """A box that scrolls sideways by itself, also by keys, where its content is wide."""
    return f'<div class="box" tabindex="0" role="region" aria-label="{text(name)}">{content}</div>'


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, name: str, numbers: Sequence[int] = ()) -> str:
    """A table of plain texts in a box of its own; the columns `numbers` are set right."""
    kinds = ["number" if column in numbers else "" for column in range(len(titles))]
    head = "".join(f"<th{_class(kind)}>{text(title)}</th>" for title, kind in zip(titles, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{_class(kind)}>{text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return box(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", name=name)


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A list of terms and what they are; terms above on a phone."""
    body = "".join(f'<tr><th scope="row">{text(term)}</th><td>{text(what)}</td></tr>' for term, what in rows if what)
    return f'<table class="facts"><tbody>{body}</tbody></table>'


def listed(lines: Iterable[str]) -> str:
    """A list of plain texts."""
    return "<ul>" + "".join(f"<li>{prose(line)}</li>" for line in lines) + "</ul>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


class Gallery:
    """Puts pictures into a page as data URIs and, where `folder` is given, also there as files of their own.

    Raises InputError where the folder cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self.files: list[Path] = []
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"--pictures: cannot make {folder} ({error.strerror}); accepted: a folder that can be written"
                ) from error

    def chart(self, figure: "Figure", *, name: str, about: str, is_wide: bool = False) -> str:
        """A drawing as SVG in the page; .svg and .png in the folder."""
        drawn = svg(figure)
        self._save(f"{name}.svg", drawn)
        if self._folder is not None:
            self._save(f"{name}.png", png(figure))
        image = f'<img alt="{text(about)}" src="{_uri("image/svg+xml", drawn)}">'
        if is_wide:
            return f'<figure class="wide">{box(image, name=about)}</figure>'
        return f"<figure>{image}</figure>"

    def photo(self, picture: np.ndarray, *, name: str, about: str) -> str:
        """A picture (height, width, 3) uint8 as JPEG."""
        content = jpeg(picture)
        self._save(f"{name}.jpg", content)
        height, width = picture.shape[:2]
        sides = f'width="{width}" height="{height}"'
        return f'<img alt="{text(about)}" {sides} loading="lazy" src="{_uri("image/jpeg", content)}">'

    def _save(self, name: str, content: bytes) -> None:
        if self._folder is None:
            return
        with written_whole(self._folder / name, field="--pictures") as draft:
            draft.write_bytes(content)
        self.files.append(self._folder / name)


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
