"""Lists of videos in text files."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.errors import InputError

_PATH_TITLES = ("path", "video", "file", "filename")
_LABEL_TITLES = ("label", "class")
_PATH_AND_NUMBER = re.compile(r"(.*\S)[ \t,]\s*(-?\d+)")


@dataclass(frozen=True, kw_only=True)
class ListedVideo:
    """One line of a list."""

    path: str  # relative, with forward slashes
    label: str | None  # the class's name; None where the line has the path alone
    line: int  # counted from 1


def read_csv_list(file: Path) -> list[ListedVideo]:
    """The lines `path,label` or `path` of a csv file; a header line is optional, empty lines are skipped.

    Paths and labels may hold spaces; one that holds a comma must be quoted. Raises InputError naming file and
    line for anything else.
    """
    videos: list[ListedVideo] = []
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, skipinitialspace=True, strict=True)
            for fields in reader:
                if not fields or (reader.line_num == 1 and _is_header(fields)):
                    continue
                videos.append(_listed_video(fields, where=f"{file}, line {reader.line_num}", line=reader.line_num))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); accepted: a csv file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start}); accepted: a UTF-8 csv file") from error
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: {error}; accepted: path,label") from error
    return videos


def _is_header(fields: list[str]) -> bool:
    titles = [field.strip().lower() for field in fields]
    return titles[0] in _PATH_TITLES and all(title in _LABEL_TITLES for title in titles[1:])


def _listed_video(fields: list[str], *, where: str, line: int) -> ListedVideo:
    if len(fields) > 2:
        raise InputError(
            f"{where}: received {len(fields)} fields; accepted: path,label (quote a path that holds a comma)"
        )
    if not fields[0] or fields[0].startswith("/"):
        raise InputError(f"{where}: received the path {fields[0]!r}; accepted: a path relative to the list's folder")
    label = fields[1].strip() if len(fields) == 2 else ""
    return ListedVideo(path=str(PurePosixPath(fields[0])), label=label or None, line=line)


@dataclass(frozen=True, kw_only=True)
class LabeledPath:
    """One line of a list with class numbers."""

    path: str  # as it stands there, with forward slashes
    label: int | None  # None where the line has the path alone
    line: int  # counted from 1


def read_lines(file: Path, *, accepted: str) -> list[tuple[int, str]]:
    """(line number, text) of every line that is not blank, stripped, whatever its end (LF, CRLF).

    Raises InputError for a file that cannot be read, saying what is `accepted`.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); accepted: {accepted}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start}); accepted: {accepted} in UTF-8") from error
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def read_labeled_paths(file: Path) -> list[LabeledPath]:
    """The lines `path label` or `path` of UCF-101, PySlowFast and MMAction2: split from the right, since paths hold
    spaces; a comma or a tab may stand for the last space. The number is handed on as it is.

    Raises InputError naming file and line for anything else.
    """
    videos = []
    for number, line in read_lines(file, accepted="a text file of `path label` lines"):
        match = _PATH_AND_NUMBER.fullmatch(line)
        path = (match[1] if match else line).removeprefix("./")
        name, _, suffix = path.rpartition("/")[2].rpartition(".")
        if not name or not suffix.isalnum():  # as of `x.mp4 zero`
            raise InputError(
                f"{file}, line {number}: received the path {path!r}; accepted: `path label`, the path a video file"
            )
        videos.append(LabeledPath(path=path, label=int(match[2]) if match else None, line=number))
    if not videos:
        raise InputError(f"{file}: lists no video; accepted: `path label`, one a line")
    return videos
