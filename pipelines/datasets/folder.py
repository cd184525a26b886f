"""A data set of one's own: a folder a class, or csv lists."""

import dataclasses
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from pipelines.datasets.annotations import Annotations, ListOptions, VideoList
from pipelines.datasets.csv_lists import ListedVideo
from pipelines.datasets.exports import list_file, read_list
from pipelines.datasets.suffixes import VIDEO_SUFFIXES, is_video
from pipelines.datasets.text_files import check_decoded, read_classes
from pipelines.datasets.tree import is_folder
from pipelines.errors import InputError, nearest

log = logging.getLogger(__name__)

SYSTEM_FOLDERS = (
    "$RECYCLE.BIN",
    "@Recycle",
    "@eaDir",
    "System Volume Information",
    "__MACOSX",
    "lost+found",
    "#recycle",
)
"""Made by operating systems, archives and network disks."""

LAYOUT = """accepted: a folder with
  train/<class>/<video>  and, optional, val/<class>/<video>  unlabeled/<any depth>/<video>
or with the lists
  train.csv  and, optional, val.csv  unlabeled.csv  (lines path,class, or titles; paths relative to the folder)
(without a validation part, --val 20pct of the training videos are held out)
(sub-folders of a class folder belong to it; a list may also be Label Studio's train.json or CVAT's train.xml)
and, optional, classes.txt with one class a line, in the order wanted
(Kinetics-400, UCF-101 and the lists of PySlowFast and MMAction2: --dataset k400, ucf101 or lists, and --data-root)"""


OTHER_NAMES_OF_VAL = ("valid", "validation", "test", "eval")
"""What people call a validation part that is looked for under `val`."""


def read_folder(
    root: Path, *, horizontal_flip: bool = True, lists: ListOptions | None = None, is_val_drawn: bool = False
) -> Annotations:
    """Reads the data set that lies in `root`, in one of the layouts of `LAYOUT`; `train.csv` goes before `train/`.

    Without `classes.txt` the classes are those of the training part in alphabetical order. A class folder's sub-folders
    belong to it. Links are followed. Left out, and named in the log: hidden and system files, folders that cannot be
    read, files that are no videos by their suffix, and classes without a video in the validation part.
    Without a validation part, `val` is empty. is_val_drawn: the validation part does not matter.
    Raises InputError for a missing training part, a training class without a video, a validation class that training
    lacks, a validation part of another name, and whatever `Annotations` refuses.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {LAYOUT}")
    if not is_val_drawn:
        _check_name_of_val(root)
    if has_lists(root):
        train, val, unlabeled = _lists(root, lists or ListOptions())
    else:
        train, val, unlabeled = _folders(root)
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


_Parts = tuple[list[ListedVideo], list[ListedVideo], list[str] | None]


def has_lists(root: Path) -> bool:
    """Tells a data set with lists from one of class folders."""
    return list_file(root, "train") is not None


def _lists(root: Path, options: ListOptions) -> _Parts:
    read: dict[str, list[ListedVideo]] = {"train": [], "val": []}
    for part in read:
        file = list_file(root, part)
        if file is None:
            continue
        videos = read[part] = read_list(file, options)
        if not videos:
            raise InputError(f"{file}: lists no video; accepted: path,class, one a line")
        for video in videos:
            if video.label is None:
                raise InputError(
                    f"{file}, line {video.line}: {video.path!r} has no class; "
                    "accepted: path,class (videos without a class belong into unlabeled.csv)"
                )
    unlabeled = list_file(root, "unlabeled")
    bare = dataclasses.replace(options, label_column=None)
    return (
        read["train"],
        read["val"],
        None if unlabeled is None else [video.path for video in read_list(unlabeled, bare)],
    )


def _folders(root: Path) -> _Parts:
    if not (root / "train").is_dir():
        raise InputError(f"{root}: no train/; {LAYOUT}")
    unlabeled = _videos_below(root, "unlabeled") if (root / "unlabeled").is_dir() else None
    train = _class_folders(root, "train")
    return train, _class_folders(root, "val") if (root / "val").is_dir() else [], unlabeled


def _check_name_of_val(root: Path) -> None:
    """Raises InputError where a validation part lies under a name that is not looked for."""
    is_listed = has_lists(root)
    if list_file(root, "val") is not None if is_listed else (root / "val").exists():
        return
    for name in OTHER_NAMES_OF_VAL:
        file = list_file(root, name) if is_listed else root / name
        if file is not None and file.exists():
            wanted = f"val{file.suffix}" if is_listed else "val/"
            raise InputError(
                f"{root}: no {wanted}, but {file.name}; accepted: the name {wanted}, or --val 20pct, which holds out "
                "training videos"
            )


def _class_folders(root: Path, part: str) -> list[ListedVideo]:
    files, folders = _listed(root / part, must_be_read=True)
    if not folders:
        raise InputError(f"{root}: {part}/ holds no class folder; {LAYOUT}")
    _log_ignored(root / part, files, why="not in a class folder")
    # A link from a class folder to all of them must not gather the others' videos.
    others = {os.path.realpath(root / part), *(os.path.realpath(root / part / name) for name in folders)}
    videos: list[ListedVideo] = []
    for name in folders:
        paths = _videos_below(root, f"{part}/{name}", passed_over=others)
        if not paths and part == "train":
            raise InputError(
                f"{root}: empty class {name!r}: {part}/{name} holds no video; "
                f"accepted: at least one file in it named {', '.join(VIDEO_SUFFIXES)}"
            )
        if not paths:
            log.warning("%s: no video of class %r to evaluate on", root / part / name, name)
        videos += [ListedVideo(path=path, label=name, line=0) for path in paths]
    deep = [video.path for video in videos if video.path.count("/") > 2]
    if deep:
        what = "%s: %d of %d videos lie in sub-folders and belong to the class folder above (such as %s)"
        log.warning(what, root / part, len(deep), len(videos), deep[0])
    return videos


def _videos_below(root: Path, part: str, *, passed_over: Collection[str] = ()) -> list[str]:
    """Finds videos at any depth, links followed, each folder entered once however many links lead to it.

    Folders whose real paths are in `passed_over` are not entered, `part` itself apart.
    """
    found: list[str] = []
    entered = set(passed_over) - {os.path.realpath(root / part)}
    waiting = [part]
    while waiting:
        folder = waiting.pop()
        if os.path.realpath(root / folder) in entered:
            continue
        entered.add(os.path.realpath(root / folder))
        files, folders = _listed(root / folder, must_be_read=folder == part)
        waiting += [f"{folder}/{name}" for name in folders]
        _log_ignored(root / folder, [name for name in files if not is_video(name)], why="no videos")
        found += [f"{folder}/{name}" for name in files if is_video(name)]
    return sorted(found)


def _listed(folder: Path, *, must_be_read: bool) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in a folder, sorted. Hidden and system ones are named in the log.

    A broken link counts as a file: it gets reported. A folder that cannot be read is empty and named in the log; raises
    InputError instead where it `must_be_read`.
    """
    files: list[str] = []
    folders: list[str] = []
    hidden: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
                    hidden.append(entry.name)
                else:
                    (folders if is_folder(entry) else files).append(entry.name)
    except OSError as error:
        if must_be_read:
            raise InputError(f"{folder}: cannot be read ({error.strerror}); accepted: a readable folder") from error
        log.warning("%s: passed over, it cannot be read (%s)", folder, error.strerror)
        return [], []
    told = [name for name in hidden if is_video(name) or name in SYSTEM_FOLDERS or (folder / name).is_dir()]
    if told:
        log.warning("%s: %d hidden or system files or folders passed over (such as %s)", folder, len(told), min(told))
    return sorted(files), sorted(folders)


def _log_ignored(folder: Path, names: Sequence[str], *, why: str) -> None:
    if names:
        log.warning("%s: %d files ignored, %s (such as %s)", folder, len(names), why, names[0])


def _class_names(root: Path, train: Sequence[ListedVideo]) -> tuple[str, ...]:
    """The classes of classes.txt, or those of the training part in alphabetical order, in the latter's spelling."""
    file = root / "classes.txt"
    named = {same_text(video.label or ""): video.label or "" for video in reversed(train)}
    if not file.exists():
        classes = tuple(sorted(named.values()))
    else:
        classes = read_classes(file)
        check_decoded(file, classes, set(named.values()))
        twice = [name for name, times in Counter(map(same_text, classes)).items() if times > 1]
        if twice:
            raise InputError(f"{file}: class {twice[0]!r} is there twice; accepted: each class once")
    _warn_of_cases(root, classes)
    return classes


def _warn_of_cases(root: Path, classes: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            log.warning("%s: classes %r and %r differ in upper and lower case alone, and are two", root, other, name)


def same_text(name: str) -> str:
    """Returns a form that is the same for all spellings of a name: an accent is one character or two (NFC, NFD)."""
    return unicodedata.normalize("NFC", name)


def _video_list(root: Path, videos: Sequence[ListedVideo], classes: tuple[str, ...], *, part: str) -> VideoList:
    index_of = {same_text(name): index for index, name in enumerate(classes)}
    labels = np.zeros(len(videos), dtype=np.int32)
    for number, video in enumerate(videos):
        label = same_text(video.label or "")
        if label not in index_of:
            source = "classes.txt" if (root / "classes.txt").exists() else "train"
            where = f"{part}.csv, line {video.line}" if video.line else part
            raise InputError(f"{root}: {where}: class {label!r} is not in {source}{nearest(label, classes)}")
        labels[number] = index_of[label]
    return VideoList(root=root, paths=tuple(video.path for video in videos), labels=labels)


def _unlabeled_list(root: Path, paths: Sequence[str]) -> VideoList:
    return VideoList(root=root, paths=tuple(paths), labels=np.full(len(paths), -1, dtype=np.int32))
