"""The labeled subset: the videos of the training list whose labels are used.

In every class the videos stand in an order that only the seed and their names decide: not the list's order, the
machine, the folders, or which other videos there are. The first usable ones are labeled. So two machines that lack
different files differ in these files' places alone.
"""

import csv
import difflib
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipelines.datasets.annotations import Annotations
from pipelines.datasets.csv_lists import csv_text
from pipelines.datasets.text_files import check_length
from pipelines.errors import InputError, nearest
from pipelines.files import written_whole

log = logging.getLogger(__name__)

ACCEPTED = "1pct, 10pct, any <number>pct of each class, all, a number of videos per class, or a file of paths"
_QUOTED = r'"(?:[^"]|"")*"'
_ROW = re.compile(rf'(?:{_QUOTED}|[^"\n]*)(?:, *{_QUOTED})?[^\n]*(?:\n|$)')
SCHEMES = ("uniform", "category-wise")
VIDEOS_PER_CLASS = {"k400": {"1pct": 6, "10pct": 60}, "ucf101": {"1pct": 1, "10pct": 10}}
"""Videos a class that the paper's 1 % and 10 % mean on its data sets (Sec. 4.1), by data set."""


def subset_of(
    annotations: Annotations,
    labeled: str,
    *,
    dataset: str,
    split_seed: int = 0,
    scheme: str = "uniform",
    usable: np.ndarray | None = None,
) -> np.ndarray:
    """`labeled_subset` of a data set's training list."""
    train = annotations.train
    return labeled_subset(
        labeled,
        paths=train.paths,
        labels=train.labels,
        classes=annotations.classes,
        split_seed=split_seed,
        names=train.names,
        usable=usable,
        scheme=scheme,
        dataset=dataset,
    )


def labeled_subset(
    labeled: str,
    *,
    paths: Sequence[str],
    labels: np.ndarray,
    classes: Sequence[str],
    split_seed: int,
    names: Sequence[str] | None = None,
    usable: np.ndarray | None = None,
    scheme: str = "uniform",
    dataset: str = "",
) -> np.ndarray:
    """Ascending indices (int64) of the labeled videos among `paths` (N) with `labels` (N,), -1 for unknown.

    labeled: `10pct`, a share of each class (rounded half up, at least one video) unless `VIDEOS_PER_CLASS` has a number
    for `dataset`; `all`; `5`, so many of each class; or a file that `write_subset` could have written: a path or name a
    line, then optionally a comma or tab and the class, or a space and its index. `names` (N) identify the videos
    (default: their paths), `usable` (N,) bool says which may be drawn. scheme: `uniform` as above, or `category-wise`:
    as many in all, in proportion to the classes' sizes (Appendix C).

    Shares count unusable videos too; where a class lacks usable ones, a share takes what there is. Raises InputError
    for anything else, a class with too few videos, and, with its line, a path or class that the data set does not know
    or contradicts.
    """
    labels, names = np.asarray(labels), paths if names is None else names
    usable = np.ones(len(paths), dtype=bool) if usable is None else np.asarray(usable)
    if labels.shape != (len(paths),):
        raise InputError(f"labels: received shape {labels.shape}; accepted: one for each of {len(paths)} paths")
    if scheme not in SCHEMES:
        raise InputError(f"scheme: received {scheme!r}{nearest(scheme, SCHEMES)}")
    if not 0 <= split_seed < 1 << 64:
        raise InputError(f"split_seed: received {split_seed}; accepted: 0 to 2**64 - 1")
    sizes = np.bincount(labels[labels >= 0], minlength=len(classes))
    counts = _counts(labeled, sizes, dataset=dataset)
    if counts is None:
        chosen = _read_subset(Path(labeled), paths=paths, names=names, labels=labels, classes=classes)
        return _usable_of_list(chosen, names=names, usable=usable, file=labeled)
    if scheme == "category-wise":
        counts = apportioned(int(counts.sum()), sizes)
    members = [np.flatnonzero((labels == label) & usable).tolist() for label in range(len(classes))]
    _check_enough(labeled, counts, members, classes, is_share=labeled not in VIDEOS_PER_CLASS.get(dataset, ()))
    drawn = [
        index
        for count, of_class in zip(counts.tolist(), members, strict=True)
        for index in sorted(of_class, key=lambda index: (_rank(names[index], split_seed), names[index]))[:count]
    ]
    return np.array(sorted(drawn), dtype=np.int64)


def _rank(name: str, split_seed: int) -> bytes:
    """A number by which the names of a class are put in order, as good as random."""
    key = split_seed.to_bytes(8, "little")
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), key=key, digest_size=16).digest()


def _counts(labeled: str, sizes: np.ndarray, *, dataset: str) -> np.ndarray | None:
    """(K,) videos wanted of each class; None if `labeled` is a file."""
    fixed = VIDEOS_PER_CLASS.get(dataset, {}).get(labeled)
    share = re.fullmatch(r"(\d+|\d*\.\d+)pct", "100pct" if labeled == "all" else labeled)
    if fixed is not None:
        return np.full(len(sizes), fixed)
    if share:
        fraction = Fraction(share[1]) / 100
        if not 0 < fraction <= 1:
            raise InputError(f"labeled: received {labeled!r}; accepted: more than 0pct, at most 100pct")
        return np.array([max(1, int(fraction * size + Fraction(1, 2))) for size in sizes.tolist()], dtype=np.int64)
    if labeled.isdecimal():
        if int(labeled) < 1:
            raise InputError(f"labeled: received {labeled!r}; accepted: at least 1 video a class")
        return np.full(len(sizes), int(labeled))
    if Path(labeled).is_file():
        return None
    raise InputError(f"labeled: received {labeled!r} (no such file); accepted: {ACCEPTED}")


def apportioned(total: int, sizes: np.ndarray) -> np.ndarray:
    """(K,) whole numbers of sum `total`, in proportion to `sizes`: largest remainders, but one at least.

    Exact whole-number arithmetic; of equal remainders the first class has the better one. Raises InputError where the
    classes hold fewer than `total` videos, or there are more classes than that.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    num_videos = int(sizes.sum())
    if not len(sizes) <= total <= num_videos:
        raise InputError(
            f"labeled: received {total} videos in all; accepted: {len(sizes)} to {num_videos}, one a class at least"
        )
    counts = np.maximum(1, total * sizes // num_videos)
    while counts.sum() < total:
        counts[np.argmax(total * sizes - counts * num_videos)] += 1
    while counts.sum() > total:
        surplus = np.where(counts > 1, counts * num_videos - total * sizes, np.iinfo(np.int64).min)
        counts[np.argmax(surplus)] -= 1
    return counts


def _check_enough(
    labeled: str, counts: np.ndarray, members: Sequence[list[int]], classes: Sequence[str], *, is_share: bool
) -> None:
    """Numbers of videos are kept or refused; a share takes all of a class that has fewer usable ones."""
    is_share = is_share and not labeled.isdecimal()
    nums_usable = np.array([len(of_class) for of_class in members])
    short = np.flatnonzero(nums_usable < (1 if is_share else counts))
    if len(short):
        worst = short[np.argmin(nums_usable[short])]
        raise InputError(
            f"labeled: received {labeled!r}, but class {classes[worst]!r} has {nums_usable[worst]} usable videos; "
            f"accepted: at most {nums_usable[worst]} of each class"
        )


def _usable_of_list(chosen: np.ndarray, *, names: Sequence[str], usable: np.ndarray, file: str) -> np.ndarray:
    kept = chosen[usable[chosen]]
    if not len(kept):
        raise InputError(f"labeled: none of the {len(chosen)} videos of {file} is usable here; accepted: at least one")
    if len(kept) < len(chosen):
        lost = [names[index] for index in chosen[~usable[chosen]]]
        log.warning("%s: %d of its %d videos cannot be used here, such as %s", file, len(lost), len(chosen), lost[0])
    return kept


def write_subset(
    file: Path, *, indices: np.ndarray, names: Sequence[str], labels: np.ndarray, classes: Sequence[str]
) -> None:
    """Writes these videos as `name,class` rows, sorted by name; `labeled_subset` takes the file back.

    Raises InputError where the file cannot be written.
    """
    try:
        with (
            written_whole(file) as draft,
            open(draft, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
        ):
            ordered = sorted(indices, key=lambda index: names[index])
            stream.write(csv_text((names[index], classes[labels[index]]) for index in ordered))
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror}); accepted: a path that can") from error


def _read_subset(
    file: Path, *, paths: Sequence[str], names: Sequence[str], labels: np.ndarray, classes: Sequence[str]
) -> np.ndarray:
    try:
        check_length(file)
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"labeled: {file} cannot be read ({error.strerror}); accepted: {ACCEPTED}") from error
    index_of = dict(zip((*paths, *names), (*range(len(paths)), *range(len(names))), strict=True))
    first_line: dict[int, int] = {}
    for number, line in _rows(text):
        where = f"{file}, line {number}"
        path, name = _path_and_class(line, index_of, classes=classes)
        if path not in index_of:
            raise InputError(f"{where}: the data set has no training video {path!r}{_nearest_path(path, names)}")
        index = index_of[path]
        if name is not None and name not in classes:
            raise InputError(f"{where}: received class {name!r}{nearest(name, classes)}")
        own = classes[labels[index]] if labels[index] >= 0 else None
        if own is None or name not in (None, own):
            raise InputError(f"{where}: {path!r} is given class {name!r}; accepted: the data set's, {own!r}")
        if index in first_line:
            raise InputError(f"{where}: {path!r} is already in line {first_line[index]}; accepted: once")
        first_line[index] = number
    if not first_line:
        raise InputError(f"{file}: names no video; accepted: a relative path a line")
    return np.array(sorted(first_line), dtype=np.int64)


def _rows(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of every row that is not blank. Line ends in quotes do not end a row."""
    number = 1
    for match in _ROW.finditer(text):
        if match[0].strip():
            yield number, match[0].removesuffix("\n")
        number += match[0].count("\n")


def _path_and_class(line: str, known: Mapping[str, int], *, classes: Sequence[str]) -> tuple[str, str | None]:
    """Splits a line. A path may hold commas and spaces, also unquoted: the whole line is tried first, then `path
    index` as PySlowFast writes it, then the last comma."""
    line = line.rstrip("\r")
    if line in known:
        return line, None
    path, _, index = line.rpartition(" ")
    if path in known and index.isdecimal():
        return path, classes[int(index)] if int(index) < len(classes) else index
    try:
        fields = next(csv.reader(io.StringIO(line, newline=""), skipinitialspace=True))
    except csv.Error:  # a field of more than 128 kB is no path
        fields = [line[:80]]
    if "\t" in line and fields[0] not in known:
        path, _, tabbed = line.rpartition("\t")
        return path, tabbed.strip()
    if len(fields) > 2:
        fields = line.rsplit(",", 1)
    path = fields[0] if fields[0] in known else fields[0].strip()
    name = fields[1] if len(fields) == 2 else None
    return path, name if name is None or name in classes else name.strip()


def _nearest_path(path: str, paths: Sequence[str]) -> str:
    """As `nearest`, but quick among 240,000 paths: the same file name elsewhere, else the same folder's."""
    folder, name = os.path.split(path)
    same_name = [other for other in paths if other.rpartition("/")[2] == name]
    same_folder = [other for other in paths if other.rpartition("/")[0] == folder]
    if len(same_folder) > 1000:
        ends = path[:3], path[-3:]
        same_folder = [other for other in same_folder if other[:3] == ends[0] or other[-3:] == ends[1]][:1000]
    close = same_name or difflib.get_close_matches(path, same_folder, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; accepted: paths such as {min(paths, default='')!r}"
