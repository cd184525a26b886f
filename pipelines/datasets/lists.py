"""Lists of videos in text files."""

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.errors import InputError

_PATH_TITLES = ("path", "video", "file", "filename")
_LABEL_TITLES = ("label", "class")


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
        raise InputError(f"{file}: cannot be read ({error.strerror}), accepted: a csv file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start}), accepted: a UTF-8 csv file") from error
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: {error}, accepted: path,label") from error
    return videos


def _is_header(fields: list[str]) -> bool:
    titles = [field.strip().lower() for field in fields]
    return titles[0] in _PATH_TITLES and all(title in _LABEL_TITLES for title in titles[1:])


def _listed_video(fields: list[str], *, where: str, line: int) -> ListedVideo:
    if len(fields) > 2:
        raise InputError(f"{where}: got {len(fields)} fields, accepted: path,label (quote a path that holds a comma)")
    if not fields[0] or fields[0].startswith("/"):
        raise InputError(f"{where}: got the path {fields[0]!r}, accepted: a path relative to the list's folder")
    label = fields[1].strip() if len(fields) == 2 else ""
    return ListedVideo(path=str(PurePosixPath(fields[0])), label=label or None, line=line)
