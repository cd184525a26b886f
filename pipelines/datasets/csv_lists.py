"""Lists of videos as csv: read as people and other programs write them, and written so that any name survives.

Lines `path,class` or `path`; with a first line of titles, any columns in any order. The separator is a comma, a
semicolon or a tab. Exports of Label Studio (as csv) are such lists.
"""

import csv
import os
import posixpath
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pipelines.datasets.annotations import ListOptions
from pipelines.datasets.suffixes import is_video
from pipelines.datasets.text_files import check_length, undecoded_at
from pipelines.errors import InputError

# fmt: off
PATH_TITLES = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "video", "video_path", "video_file", "video_name",
    "clip", "clip_path", "name", "url", "video_url", "video_id", "id",
)
LABEL_TITLES = (
    "label", "class", "category", "choice", "action", "tag", "target", "label_name", "class_name", "class_label",
    "annotation", "label_id", "class_id",
)
# fmt: on
"""Titles of columns in lower case, `_` for a blank: the first one that a list has is taken."""
_SEPARATORS = ",;\t"
_ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]*://")
_LOCAL_FILES = re.compile(r"/data/local-files/?\?d=(.*)", re.DOTALL)
_UPLOADED = re.compile(r"/data/upload/.*/([^/]+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedVideo:
    """One line of a list."""

    path: str  # relative to the list's folder, with forward slashes
    label: str | None  # the class's name; None where the line has the path alone
    line: int  # counted from 1


def read_csv_list(file: Path, options: ListOptions | None = None) -> list[ListedVideo]:
    """Reads a csv list; see the top of the file for its forms. Empty lines are skipped.

    Columns are those that `options` name, else the first known title of `PATH_TITLES` and `LABEL_TITLES`, else the
    first two. Blanks around unquoted fields do not count. A field that holds the separator must be quoted. A name that
    is no UTF-8 is taken where it is that of a file. Raises InputError naming file and line for anything else, and for a
    path outside the list's folder unless `options` allow it.
    """
    options = options or ListOptions()
    videos: list[ListedVideo] = []
    columns: _Columns | None = None
    number = 1
    try:
        check_length(file)
        with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            separator = _separator(stream)
            rows = _rows(stream, separator)
            for number, fields in rows:
                where = f"{file}, line {number}"
                if columns is None:
                    columns, is_header = _columns_of(fields, options, where=where)
                    if is_header:
                        continue
                videos.append(_listed_video(fields, columns, file.parent, options, where=where, line=number))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); accepted: a csv file") from error
    except csv.Error as error:
        raise InputError(f"{file}, line {number}: {error}; accepted: path,label") from error
    _check_first(file, videos, columns)
    return videos


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Writes rows as csv. `read_csv_list` reads the same fields back: outer blanks, line ends, bytes of no UTF-8."""
    return "".join(",".join(map(quoted, row)) + "\n" for row in rows)


def quoted(field: str) -> str:
    """Returns a field as it stands in a csv file, in quotes where it needs them."""
    needs = field != field.strip() or any(character in field for character in ',"\r\n')
    return '"' + field.replace('"', '""') + '"' if needs else field


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """The places of path and label in a row; `num_fields` is how many a row may have."""

    path: int
    label: int | None
    num_fields: int
    is_named: bool  # by a line of titles


def _separator(stream: TextIO) -> str:
    """The separator of the first line that is not empty; a comma where there is none."""
    line = next((line for line in stream if line.strip()), "")
    stream.seek(0)
    if is_video(line.strip()):  # one column, whatever its name holds
        return ","
    bare = re.sub(r'"[^"]*"', "", line)
    titles = [[_title(field) for field in bare.split(separator)] for separator in _SEPARATORS]
    for separator, words in zip(_SEPARATORS, titles, strict=True):
        if len(words) > 1 and set(words) & set(PATH_TITLES):
            return separator
    return next((separator for separator in _SEPARATORS if separator in bare), ",")


def _rows(stream: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the last line, fields) of every row that is not empty. Blanks around unquoted fields are left out."""
    taken: list[str] = []

    def noted() -> Iterator[str]:
        for line in stream:
            taken.append(line)
            yield line

    reader = csv.reader(noted(), delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    for fields in reader:
        text = "".join(taken)
        taken.clear()
        if fields and (len(fields) > 1 or fields[0].strip()):
            yield reader.line_num, [_stripped(field, text) for field in fields]


def _stripped(field: str, text: str) -> str:
    """A field without outer blanks, unless it is quoted in the row's text."""
    bare = field.strip()
    return field if bare != field and '"' + field.replace('"', '""') + '"' in text else bare


def _title(field: str) -> str:
    return re.sub(r"[\s_-]+", "_", field.strip().strip('"').lower())


def _columns_of(first: list[str], options: ListOptions, *, where: str) -> tuple[_Columns, bool]:
    """(columns, if the first row is one of titles)."""
    titles = [_title(field) for field in first]
    path = _column(titles, options.path_column, PATH_TITLES, where=where, option="--path-column")
    label = _column(titles, options.label_column, LABEL_TITLES, where=where, option="--label-column")
    if path is not None and (label is not None or len(first) == 1 or options.path_column is not None):
        return _Columns(path=path, label=label, num_fields=len(first), is_named=True), True
    return _Columns(path=0, label=1, num_fields=2, is_named=False), False


def _column(titles: list[str], wanted: str | None, known: Sequence[str], *, where: str, option: str) -> int | None:
    if wanted is None:
        return next((titles.index(title) for title in known if title in titles), None)
    if _title(wanted) not in titles:
        raise InputError(f"{option}: received {wanted!r}, not in {where}; accepted: {', '.join(titles)}")
    return titles.index(_title(wanted))


def _listed_video(
    fields: list[str], columns: _Columns, folder: Path, options: ListOptions, *, where: str, line: int
) -> ListedVideo:
    if len(fields) > columns.num_fields:
        accepted = "as many as titles" if columns.is_named else "path,label (quote a path that holds a comma)"
        raise InputError(f"{where}: received {len(fields)} fields; accepted: {accepted}")
    path = fields[columns.path] if columns.path < len(fields) else ""
    label = fields[columns.label] if columns.label is not None and columns.label < len(fields) else ""
    at = undecoded_at(path + label)
    if at is not None and not _is_file(folder, path):
        raise InputError(f"{where}: not UTF-8 (character {at + 1}); accepted: a UTF-8 csv file")
    if label.startswith("{") and '"choices"' in label:
        raise InputError(f"{where}: received several classes, {label}; accepted: one a video")
    return ListedVideo(path=local_path(path, folder, options, where=where), label=label or None, line=line)


def _is_file(folder: Path, path: str) -> bool:
    return "\0" not in path and os.path.isfile(f"{folder}/{path}")


def local_path(path: str, folder: Path, options: ListOptions, *, where: str) -> str:
    """Returns a listed path relative to `folder`, with neither `.` nor `..` inside.

    Addresses, and paths of Label Studio's own, stand for the file of that name in `folder`. Raises InputError for no
    path, and for one outside the folder unless `options` allow it.
    """
    local = _LOCAL_FILES.fullmatch(path)
    if local or _ADDRESS.match(path):
        local_name = local[1] if local else urllib.parse.urlsplit(path).path.rpartition("/")[2]
        path = urllib.parse.unquote(local_name)
    elif uploaded := _UPLOADED.fullmatch(path):
        path = uploaded[1]
    inside = os.path.relpath(path, os.path.abspath(folder)) if path.startswith("/") else path
    plain = posixpath.normpath(inside) if inside and "\0" not in inside else "."
    if plain == "." or (not options.outside_root and (plain == ".." or plain.startswith("../"))):
        raise InputError(
            f"{where}: received the path {path!r}; accepted: a path relative to the list's folder and inside it, or "
            "any with --set data.outside_root=true"
        )
    return plain


def _check_first(file: Path, videos: Sequence[ListedVideo], columns: _Columns | None) -> None:
    """A first line of strange titles looks like a video without a suffix among videos with one."""
    if columns is None or columns.is_named or len(videos) < 2:
        return
    first, second = videos[0], videos[1]
    if not is_video(first.path) and is_video(second.path):
        raise InputError(
            f"{file}, line {first.line}: received {first.path!r}, which names no video; accepted: titles such as path "
            "and label, or --path-column and --label-column to name others"
        )
