"""Which videos of the training list count as labelled.

A drawn subset is a function of the set of (path, class) and the seed alone: not of the list's order, the
machine, or numpy's version (only Philox's raw numbers are used, and those are fixed).
"""

import csv
import difflib
import hashlib
import os
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipelines.errors import InputError, nearest

ACCEPTED = "1pct, 10pct, any <number>pct of each class, a number of videos per class, or a file of paths"


def labeled_subset(
    labeled: str, *, paths: Sequence[str], labels: np.ndarray, classes: Sequence[str], split_seed: int
) -> np.ndarray:
    """Ascending indices (int64) of the labelled videos among `paths` with `labels` (N,), -1 for unknown.

    labeled: `10pct`, a share of each class (rounded half up, at least one video), `5`, so many of each class,
    or a file that `write_subset` could have written: a relative path a line, then optionally a comma or tab
    and the class. Raises InputError for anything else, a class with too few videos, and, with its line, a
    path or class that the data set does not know or contradicts.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(paths),):
        raise InputError(f"labels: got shape {labels.shape}, accepted: one for each of {len(paths)} paths")
    share = re.fullmatch(r"(\d+|\d*\.\d+)pct", labeled)
    if share:
        fraction = Fraction(share[1]) / 100
        if not 0 < fraction <= 1:
            raise InputError(f"labeled: got {labeled!r}, accepted: more than 0pct, at most 100pct")
    elif labeled.isdecimal():
        if int(labeled) < 1:
            raise InputError(f"labeled: got {labeled!r}, accepted: at least 1 video a class")
    elif Path(labeled).is_file():
        return _read_subset(Path(labeled), paths=paths, labels=labels, classes=classes)
    else:
        raise InputError(f"labeled: got {labeled!r} (no such file), accepted: {ACCEPTED}")
    chosen: list[int] = []
    for label, name in enumerate(classes):
        members = np.flatnonzero(labels == label).tolist()
        count = max(1, int(fraction * len(members) + Fraction(1, 2))) if share else int(labeled)
        if len(members) < count:
            raise InputError(
                f"labeled: got {labeled!r}, but class {name!r} has {len(members)} usable videos, "
                f"accepted: at most {len(members)} of each class"
            )
        chosen += _draw(count, members, paths=paths, class_name=name, split_seed=split_seed)
    return np.array(sorted(chosen), dtype=np.int64)


def _draw(count: int, members: Sequence[int], *, paths: Sequence[str], class_name: str, split_seed: int) -> list[int]:
    """`count` members: a number for each, in the order of their paths; the smallest win."""
    if not 0 <= split_seed < 1 << 64:
        raise InputError(f"split_seed: got {split_seed}, accepted: 0 to 2**64 - 1")
    digest = hashlib.sha256(class_name.encode("utf-8", "surrogateescape")).digest()
    key = np.array([split_seed, int.from_bytes(digest[:8], "little")], dtype=np.uint64)
    by_path = sorted(members, key=lambda index: paths[index])
    numbers = np.random.Philox(key=key).random_raw(len(by_path))
    return [by_path[rank] for rank in np.argsort(numbers, kind="stable")[:count]]


def write_subset(
    file: Path, *, indices: np.ndarray, paths: Sequence[str], labels: np.ndarray, classes: Sequence[str]
) -> None:
    """Writes these videos as `path,class` lines, sorted by path; `labeled_subset` takes the file back."""
    temporary = Path(file).with_name(f".{Path(file).name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for index in sorted(indices, key=lambda index: paths[index]):
            writer.writerow([paths[index], classes[labels[index]]])
    os.replace(temporary, file)


def _read_subset(file: Path, *, paths: Sequence[str], labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as error:
        raise InputError(f"labeled: {file} cannot be read ({error.strerror}), accepted: {ACCEPTED}") from error
    index_of = {path: index for index, path in enumerate(paths)}
    first_line: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        path, name = _path_and_class(line, index_of)
        if path not in index_of:
            raise InputError(f"{where}: the data set has no usable {path!r}{_nearest_path(path, paths)}")
        index = index_of[path]
        if name is not None and name not in classes:
            raise InputError(f"{where}: got class {name!r}{nearest(name, classes)}")
        own = classes[labels[index]] if labels[index] >= 0 else None
        if own is None or name not in (None, own):
            raise InputError(f"{where}: {path!r} is given class {name!r}, accepted: the data set's, {own!r}")
        if index in first_line:
            raise InputError(f"{where}: {path!r} is already in line {first_line[index]}, accepted: once")
        first_line[index] = number
    if not first_line:
        raise InputError(f"{file}: names no video, accepted: a relative path a line")
    return np.array(sorted(first_line), dtype=np.int64)


def _path_and_class(line: str, known: dict[str, int]) -> tuple[str, str | None]:
    """Splits a line. A path may hold commas, also unquoted: the whole line is tried first, then the last comma."""
    line = line.rstrip("\r")
    if line in known:
        return line, None
    if "\t" in line:
        path, _, name = line.rpartition("\t")
        return path, name.strip()
    fields = next(csv.reader([line], skipinitialspace=True))
    if len(fields) > 2:
        fields = line.rsplit(",", 1)
    return fields[0].strip(), fields[1].strip() if len(fields) == 2 else None


def _nearest_path(path: str, paths: Sequence[str]) -> str:
    """As `nearest`, but quick among 240,000 paths: the same file name elsewhere, else the same folder's."""
    folder, name = os.path.split(path)
    same_name = [other for other in paths if other.rpartition("/")[2] == name]
    same_folder = [other for other in paths if other.rpartition("/")[0] == folder][:1000]
    close = same_name or difflib.get_close_matches(path, same_folder, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; accepted: paths such as {min(paths, default='')!r}"
