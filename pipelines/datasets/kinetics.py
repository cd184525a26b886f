"""Kinetics-400, as CVDF hands it out or sorted into class folders.

Under the root (or its sub-folder k400, kinetics400, kinetics-400, Kinetics-400) are looked for, the first that exists:

    videos     train/, train_256/, videos_train/ or videos/train/, and the same with val or validation; flat, or in
               class folders that spell a class with spaces or underscores
    lists      train.csv and val.csv (also validate.csv, validation.csv, kinetics_train.csv, kinetics400_train.csv ...)
               in annotations/, the root or kinetics400/; without them the class folders are the list
    repairs    replacement/, at most two folders deep: what lies there goes before the file of the same id

A file belongs to a line by its name `{id}_{start:06d}_{end:06d}` or by its first 11 characters, the YouTube id, which
may hold `_` and `-`. Classes are numbered in alphabetical order.
"""

import csv
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.datasets.annotations import Annotations, ReadOptions, VideoList, needed
from pipelines.datasets.text_files import check_length
from pipelines.datasets.tree import VideoTree, check_spelling, checked_absent, video_tree
from pipelines.errors import InputError, nearest

HOMES = ("", "k400", "kinetics400", "kinetics-400", "Kinetics-400")
VIDEO_FOLDERS = {
    "train": ("train", "train_256", "videos_train", "videos/train"),
    "val": ("val", "validation", "val_256", "videos_val", "videos/val"),
}
LIST_FOLDERS = ("annotations", "", "kinetics400")
LIST_NAMES = {
    "train": ("train.csv", "kinetics_train.csv", "kinetics400_train.csv", "kinetics-400_train.csv"),
    "val": (
        *("val.csv", "validate.csv", "validation.csv"),
        *("kinetics_val.csv", "kinetics400_val.csv", "kinetics-400_val.csv"),
    ),
}
ID_CHARACTERS = 11


class _Entry(NamedTuple):
    """One line of a list."""

    label: str
    video_id: str
    stem: str  # of the file's full name; the id where the list has no times
    line: int


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Training or validation: what its list says, and where the files are."""

    source: Path
    entries: list[_Entry]
    names: tuple[str, ...]
    paths: tuple[str, ...]
    absent: tuple[int, ...]


def read(root: Path | None, options: ReadOptions) -> Annotations:
    """Reads the data set `k400` for `registry`."""
    return read_kinetics(needed(root), max_missing_share=options.max_missing_share)


def read_kinetics(root: Path, *, max_missing_share: float = 0.05) -> Annotations:
    """Kinetics-400 under `root`; see the top of the file for what is looked for.

    Missing files keep their places in the lists. Raises InputError where nothing fits, a line is not of the format,
    a class is spelled differently in list and folders or unknown to the training list, and where more than
    `max_missing_share` of a list's files are missing.
    """
    home = _home(Path(root))
    train, val = (_part(home, part, max_missing_share=max_missing_share) for part in ("train", "val"))
    classes = tuple(sorted({entry.label for entry in train.entries}))
    return Annotations(
        name="k400",
        classes=classes,
        train=_video_list(home, train, classes),
        val=_video_list(home, val, classes),
        unlabeled=None,
        horizontal_flip=True,
    )


def read_kinetics_train(root: Path, *, max_missing_share: float = 0.05) -> VideoList:
    """The training videos alone, for use without their labels: the validation part need not be there."""
    home = _home(Path(root))
    train = _part(home, "train", max_missing_share=max_missing_share)
    return _video_list(home, train, tuple(sorted({entry.label for entry in train.entries})))


def _home(root: Path) -> Path:
    for name in HOMES:
        if any((root / name / folder).is_dir() for folder in VIDEO_FOLDERS["train"]):
            return root / name
    what = "no training videos" if root.is_dir() else "no such folder"
    raise InputError(
        f"{root}: {what}; accepted: the folder of Kinetics-400, with the training videos in "
        f"{', '.join(f'{folder}/' for folder in VIDEO_FOLDERS['train'])}"
    )


def _part(home: Path, part: str, *, max_missing_share: float) -> _Part:
    folders = [folder for folder in VIDEO_FOLDERS[part] if (home / folder).is_dir()]
    if not folders:
        accepted = ", ".join(f"{folder}/" for folder in VIDEO_FOLDERS[part])
        raise InputError(f"{home}: no videos for {part}; accepted: one of the folders {accepted}")
    tree = video_tree(home, folders[0])
    files = [home / folder / name for folder in LIST_FOLDERS for name in LIST_NAMES[part]]
    source = next((file for file in files if file.is_file()), None)
    if source is None and (tree.num_loose or not tree.by_stem):
        raise InputError(
            f"{home}: no list for {part}, and {folders[0]}/ has no class folders to take its place; "
            f"accepted: annotations/{LIST_NAMES[part][0]}"
        )
    entries = _read_list(source) if source else _entries_of(tree)
    source = source or tree.where
    folder_of = {_spelling(folder): folder for folder in tree.folders}
    check_spelling(tree, {entry.label for entry in entries}, source=source, normal=_spelling)
    repaired = _replacements(home)
    ids = Counter(entry.video_id for entry in entries)
    finders = [_Finder(by_stem) for by_stem in (repaired, tree.by_stem) if by_stem]
    paths, there = [], []
    for entry in entries:
        path, unique = None, ids[entry.video_id] == 1
        for find in finders:
            path = path or find(entry, unique=unique)
        there.append(path is not None)
        expected = "" if tree.num_loose or not tree.folders else f"{folder_of.get(entry.label, entry.label)}/"
        paths.append(path or f"{folders[0]}/{expected}{entry.stem}.mp4")
    looked_in = f"{folders[0]}/" + (" and replacement/" if repaired else "")
    return _Part(
        source=source,
        entries=entries,
        names=tuple(entry.video_id if ids[entry.video_id] == 1 else entry.stem for entry in entries),
        paths=tuple(paths),
        absent=checked_absent(paths, there, what=str(source), looked_in=looked_in, max_missing_share=max_missing_share),
    )


class _Finder:
    """Finds the file of a line by its full name, or by its id where only one line has that."""

    def __init__(self, by_stem: dict[str, str]) -> None:
        self.by_stem = by_stem
        self.by_id: dict[str, str] = {}
        for stem, path in by_stem.items():
            video_id = stem[:ID_CHARACTERS]
            if self.by_id.setdefault(video_id, path) > path:
                self.by_id[video_id] = path

    def __call__(self, entry: _Entry, *, unique: bool) -> str | None:
        path = self.by_stem.get(entry.stem)
        if path is None and unique:
            path = self.by_stem.get(entry.video_id) or self.by_id.get(entry.video_id)
        return path


def _replacements(home: Path) -> dict[str, str]:
    """CVDF's archive unpacks to replacement/replacement_for_corrupted_k400/."""
    return video_tree(home, "replacement").by_stem if (home / "replacement").is_dir() else {}


@functools.cache
def _spelling(name: str) -> str:
    """`air_drumming` and `air drumming` are one class."""
    return " ".join(name.replace("_", " ").split())


def _entries_of(tree: VideoTree) -> list[_Entry]:
    """Class folders in the place of a list."""
    return [
        _Entry(label=_spelling(path.rsplit("/", 2)[-2]), video_id=stem[:ID_CHARACTERS], stem=stem, line=0)
        for stem, path in sorted(tree.by_stem.items())
    ]


def _read_list(file: Path) -> list[_Entry]:
    entries = []
    try:
        check_length(file)
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, skipinitialspace=True, strict=True)
            columns = _columns(next(reader, []), file=file)
            for fields in reader:
                if any(fields):
                    entries.append(_entry(fields, columns, file=file, line=reader.line_num))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); accepted: a csv file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 (byte {error.start}); accepted: a UTF-8 csv file") from error
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: {error}; accepted: Kinetics' csv format") from error
    if not entries:
        raise InputError(f"{file}: lists no video; accepted: a line for each under the header")
    return entries


def _columns(header: Sequence[str], *, file: Path) -> list[int]:
    """Where label and id stand, then start and end, which may be absent."""
    titles = [title.strip().lower() for title in header]
    if "label" not in titles or "youtube_id" not in titles:
        raise InputError(
            f"{file}, line 1: received {','.join(header)[:80]!r}; accepted: the header label,youtube_id,time_start,"
            "time_end,split (a list with `path label` lines is read by --dataset lists)"
        )
    with_times = "time_start" in titles and "time_end" in titles
    wanted = ("label", "youtube_id", *(("time_start", "time_end") if with_times else ()))
    return [titles.index(title) for title in wanted]


def _entry(fields: list[str], columns: list[int], *, file: Path, line: int) -> _Entry:
    try:
        label, video_id = fields[columns[0]].strip(), fields[columns[1]].strip()
        times = _in_name(fields[columns[2]]) + _in_name(fields[columns[3]]) if len(columns) > 2 else ""
    except (IndexError, ValueError, OverflowError):
        raise InputError(
            f"{file}, line {line}: received {','.join(fields)!r}; accepted: label,youtube_id,time_start,time_end,split"
        ) from None
    if not label or not video_id or "/" in video_id:
        raise InputError(
            f"{file}, line {line}: received label {label!r} and id {video_id!r}; accepted: both, the id a name"
        )
    return _Entry(label=_spelling(label), video_id=video_id, stem=video_id + times, line=line)


@functools.cache
def _in_name(seconds: str) -> str:
    """A time as file names have it."""
    return f"_{int(float(seconds)):06d}"


def _video_list(home: Path, part: _Part, classes: tuple[str, ...]) -> VideoList:
    index_of = {name: index for index, name in enumerate(classes)}
    for entry in part.entries:
        if entry.label not in index_of:
            where = f"{part.source}, line {entry.line}" if entry.line else str(part.source)
            raise InputError(
                f"{where}: class {entry.label!r} is not in the training list{nearest(entry.label, classes)}"
            )
    return VideoList(
        root=home,
        paths=part.paths,
        labels=np.array([index_of[entry.label] for entry in part.entries], dtype=np.int32),
        names=part.names,
        absent=part.absent,
    )
