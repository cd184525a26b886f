"""A data set of one's own: a folder a class, or csv lists."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.datasets.annotations import Annotations, VideoList
from pipelines.datasets.text_files import ListedVideo, read_csv_list
from pipelines.errors import InputError, nearest

log = logging.getLogger(__name__)

# fmt: off
VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv",
)
# fmt: on
"""Compared in lower case."""

LAYOUT = """accepted: a folder with
  train/<class>/<video>  val/<class>/<video>  and, optional, unlabeled/<any depth>/<video>
or with the lists
  train.csv  val.csv  and, optional, unlabeled.csv  (lines path,class; paths relative to the folder)
and, optional, classes.txt with one class a line, in the order wanted
(Kinetics-400, UCF-101 and the lists of PySlowFast and MMAction2: --dataset k400, ucf101 or lists, and --data-root)"""


def read_folder(root: Path, *, horizontal_flip: bool = True) -> Annotations:
    """The data set that lies in `root`, in one of the layouts of `LAYOUT`; `train.csv` goes before `train/`.

    Without `classes.txt` the classes are those of the training part in alphabetical order. Hidden files and
    files that are no videos by their suffix are left out, the latter counted in the log; links are followed.
    Raises InputError for anything missing, a class folder without a video, a validation class that training
    lacks, and whatever `Annotations` refuses.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {LAYOUT}")
    read = _lists if (root / "train.csv").exists() else _folders
    train, val, unlabeled = read(root)
    classes = _class_names(root, train)
    return Annotations(
        name=root.resolve().name,
        classes=classes,
        train=_video_list(root, train, classes, part="train"),
        val=_video_list(root, val, classes, part="val"),
        unlabeled=None if unlabeled is None else _unlabeled_list(root, unlabeled),
        horizontal_flip=horizontal_flip,
    )


def read_videos(root: Path) -> VideoList:
    """All videos below a folder, at any depth, their classes unknown. Raises InputError where there is none."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; accepted: a folder of videos")
    paths = [path.removeprefix(f"{root.name}/") for path in _videos_below(root.parent, root.name)]
    if not paths:
        raise InputError(f"{root}: no videos; accepted: files at any depth named {', '.join(VIDEO_SUFFIXES)}")
    return _unlabeled_list(root, paths)


_Parts = tuple[Sequence[ListedVideo], Sequence[ListedVideo], Sequence[str] | None]


def _lists(root: Path) -> _Parts:
    if not (root / "val.csv").exists():
        raise InputError(f"{root}: train.csv but no val.csv; {LAYOUT}")
    parts = [read_csv_list(root / f"{part}.csv") for part in ("train", "val")]
    for part, videos in zip(("train", "val"), parts, strict=True):
        for video in videos:
            if video.label is None:
                raise InputError(
                    f"{root / part}.csv, line {video.line}: {video.path!r} has no class; "
                    "accepted: path,class (videos without a class belong into unlabeled.csv)"
                )
    unlabeled = root / "unlabeled.csv"
    return *parts, [video.path for video in read_csv_list(unlabeled)] if unlabeled.exists() else None


def _folders(root: Path) -> _Parts:
    missing = [part for part in ("train", "val") if not (root / part).is_dir()]
    if missing:
        raise InputError(f"{root}: no {' and no '.join(f'{part}/' for part in missing)}; {LAYOUT}")
    unlabeled = _videos_below(root, "unlabeled") if (root / "unlabeled").is_dir() else None
    return _class_folders(root, "train"), _class_folders(root, "val"), unlabeled


def _class_folders(root: Path, part: str) -> list[ListedVideo]:
    videos: list[ListedVideo] = []
    entries = _entries(root / part)
    loose = [entry.name for entry in entries if not entry.is_dir()]
    if len(loose) == len(entries):
        raise InputError(f"{root}: {part}/ holds no class folder; {LAYOUT}")
    _log_ignored(root / part, loose, why="not in a class folder")
    for folder in entries:
        if not folder.is_dir():
            continue
        names = [entry.name for entry in _entries(folder.path) if not entry.is_dir()]
        chosen = [name for name in names if _is_video(name)]
        _log_ignored(Path(folder.path), [name for name in names if not _is_video(name)], why="no videos")
        if not chosen:
            raise InputError(
                f"{root}: empty class {folder.name!r}: {part}/{folder.name} holds no video; "
                f"accepted: at least one file in it named {', '.join(VIDEO_SUFFIXES)}"
            )
        videos += [ListedVideo(path=f"{part}/{folder.name}/{name}", label=folder.name, line=0) for name in chosen]
    return videos


def _videos_below(root: Path, part: str) -> list[str]:
    """Videos at any depth, links followed, each folder entered once however many links lead to it."""
    found: list[str] = []
    entered: set[str] = set()
    waiting = [part]
    while waiting:
        folder = waiting.pop()
        if os.path.realpath(root / folder) in entered:
            continue
        entered.add(os.path.realpath(root / folder))
        entries = _entries(root / folder)
        waiting += [f"{folder}/{entry.name}" for entry in entries if entry.is_dir()]
        names = [entry.name for entry in entries if not entry.is_dir()]
        _log_ignored(root / folder, [name for name in names if not _is_video(name)], why="no videos")
        found += [f"{folder}/{name}" for name in names if _is_video(name)]
    return sorted(found)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted, without hidden files. A broken link counts as a file: it gets reported."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); accepted: a readable folder") from error
    return sorted(visible, key=lambda entry: entry.name)


def _is_video(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def _log_ignored(folder: Path, names: Sequence[str], *, why: str) -> None:
    if names:
        log.warning("%s: %d files ignored, %s (such as %s)", folder, len(names), why, names[0])


def _class_names(root: Path, train: Sequence[ListedVideo]) -> tuple[str, ...]:
    file = root / "classes.txt"
    if not file.exists():
        return tuple(sorted({video.label for video in train}))
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); accepted: a UTF-8 file, one class a line") from error
    classes = tuple(line.strip() for line in lines if line.strip())
    twice = [name for name, times in Counter(classes).items() if times > 1]
    if twice:
        raise InputError(f"{file}: class {twice[0]!r} is there twice; accepted: each class once")
    return classes


def _video_list(root: Path, videos: Sequence[ListedVideo], classes: tuple[str, ...], *, part: str) -> VideoList:
    index_of = {name: index for index, name in enumerate(classes)}
    for video in videos:
        if video.label not in index_of:
            source = "classes.txt" if (root / "classes.txt").exists() else "train"
            where = f"{part}.csv, line {video.line}" if video.line else part
            raise InputError(
                f"{root}: {where}: class {video.label!r} is not in {source}{nearest(video.label, classes)}"
            )
    return VideoList(
        root=root,
        paths=tuple(video.path for video in videos),
        labels=np.array([index_of[video.label] for video in videos], dtype=np.int32),
    )


def _unlabeled_list(root: Path, paths: Sequence[str]) -> VideoList:
    return VideoList(root=root, paths=tuple(paths), labels=np.full(len(paths), -1, dtype=np.int32))
