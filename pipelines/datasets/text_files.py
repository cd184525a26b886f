"""Plain text files of a data set: lines `path label`, and one class a line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InputError

MAX_LINES = 2_000_000
"""A longer list would not fit the memory of a laptop."""
BLOCK_BYTES = 1 << 20
"""A line as long as this is none of a list."""
_PATH_AND_NUMBER = re.compile(r"(.*\S)[ \t,]\s*(-?\d{1,9})")
_QUOTED_OR_LINE = re.compile(r'[^\S\n]*"((?:[^"]|"")*)"[^\S\n]*(?:\n|$)|([^\n]*)(?:\n|$)')


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledPath:
    """One line of a list with class numbers."""

    path: str  # as it stands there, with forward slashes
    label: int | None  # None where the line has the path alone
    line: int  # counted from 1


def read_lines(file: Path, *, accepted: str) -> list[tuple[int, str]]:
    """Returns (line number, text) of every line that is not blank, stripped, whatever its end (LF, CRLF).

    Raises InputError for a file that cannot be read or is too long, saying what is `accepted`.
    """
    try:
        check_length(file)
        with open(file, encoding="utf-8-sig", newline="\n") as stream:
            lines = [(number, text) for number, line in enumerate(stream, 1) if (text := line.strip())]
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); accepted: {accepted}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start}); accepted: {accepted} in UTF-8") from error
    return lines


def check_length(file: Path) -> None:
    """Raises InputError for a text file of more than MAX_LINES lines, or with a line that fills a block.

    Reads as many blocks of BLOCK_BYTES as it takes to know, and keeps none: a list that is refused costs no memory.
    Raises OSError for a file that cannot be read.
    """
    num_lines = 0
    with open(file, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            num_ends = max(block.count(b"\n"), block.count(b"\r"))
            if not num_ends and len(block) == BLOCK_BYTES:
                raise InputError(
                    f"{file}, line {num_lines + 1}: received more than {BLOCK_BYTES} bytes; accepted: less"
                )
            num_lines += num_ends
            if num_lines > MAX_LINES:
                raise InputError(f"{file}: received more than {MAX_LINES} lines; accepted: at most so many")


def read_labeled_paths(file: Path) -> list[LabeledPath]:
    """Reads the lines `path label` or `path` of UCF-101, PySlowFast and MMAction2.

    They are split from the right, since paths hold spaces; a comma or a tab may stand for the last space. The number is
    handed on as it is. Raises InputError naming file and line for anything else.
    """
    videos = []
    for number, line in read_lines(file, accepted="a text file of `path label` lines"):
        match = _PATH_AND_NUMBER.fullmatch(line)
        path = (match[1] if match else line).removeprefix("./")
        name, _, suffix = path.rpartition("/")[2].rpartition(".")
        if not name or not suffix.isalnum() or "\0" in path:  # as of `x.mp4 zero`
            raise InputError(
                f"{file}, line {number}: received the path {path!r}; accepted: `path label`, the path a video file"
            )
        videos.append(LabeledPath(path=path, label=int(match[2]) if match else None, line=number))
    if not videos:
        raise InputError(f"{file}: lists no video; accepted: `path label`, one a line")
    return videos


def read_classes(file: Path) -> tuple[str, ...]:
    """Reads one class a line, stripped; a name in quotes keeps its outer blanks and line ends. Empty lines are skipped.

    Bytes that are no UTF-8 come as surrogates, as in file names. Raises InputError for a file that cannot be read.
    """
    try:
        check_length(file)
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); accepted: one class a line") from error
    names = [
        match[1].replace('""', '"') if match[1] is not None else match[2].strip()
        for match in _QUOTED_OR_LINE.finditer(text)
    ]
    return tuple(name for name in names if name)


def undecoded_at(text: str) -> int | None:
    """The place of the first byte that is no UTF-8, which `surrogateescape` keeps as a character; None without one."""
    return next((k for k, character in enumerate(text) if "\udc80" <= character <= "\udcff"), None)


def check_decoded(file: Path, classes: Sequence[str], known: set[str]) -> None:
    """Raises InputError for a class with bytes that are no UTF-8, unless it is `known` as such from file names."""
    for name in classes:
        if name not in known and undecoded_at(name) is not None:
            raise InputError(f"{file}: not UTF-8 (class {name!r}); accepted: a UTF-8 file, one class a line")
