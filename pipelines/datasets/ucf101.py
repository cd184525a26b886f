"""UCF-101 with its official lists.

Under the root (or its sub-folder ucf101 or UCF101) are looked for, the first that exists:

    lists      classInd.txt, trainlist0N.txt and testlist0N.txt for split N = 1, 2 or 3, in ucfTrainTestlist/,
               annotations/ or the root
    videos     UCF-101/<class>/, UCF101/<class>/, videos/<class>/ or <class>/; the class folders may be missing

A file belongs to a line by its name without the suffix, so that a transcoded copy needs no other lists. Classes are
numbered as in classInd.txt, less one.
"""

import re
from pathlib import Path, PurePosixPath

import numpy as np

from pipelines.datasets.annotations import Annotations, ReadOptions, VideoList, needed
from pipelines.datasets.text_files import LabeledPath, read_labeled_paths, read_lines
from pipelines.datasets.tree import VideoTree, check_spelling, checked_absent, video_tree
from pipelines.errors import InputError, nearest

HOMES = ("", "ucf101", "UCF101")
LIST_FOLDERS = ("ucfTrainTestlist", "annotations", "")
VIDEO_FOLDERS = ("UCF-101", "UCF101", "videos", "")
SPLITS = (1, 2, 3)


def read(root: Path | None, options: ReadOptions) -> Annotations:
    """Reads the data set `ucf101` for `registry`."""
    return read_ucf101(needed(root), split=options.official_split, max_missing_share=options.max_missing_share)


def read_ucf101(root: Path, *, split: int = 1, max_missing_share: float = 0.05) -> Annotations:
    """UCF-101 under `root` with its official split 1, 2 or 3; see the top of the file for what is looked for.

    Missing files keep their places in the lists. Raises InputError where nothing fits, a line is not of the format
    or contradicts classInd.txt, a class is spelled differently in lists and folders, and where more than
    `max_missing_share` of a list's files are missing.
    """
    if split not in SPLITS:
        raise InputError(f"data.official_split: received {split}; accepted: UCF-101's 1, 2 or 3")
    home, lists = _home_and_lists(Path(root), split)
    classes = _read_classes(lists / "classInd.txt")
    tree = _videos(home)
    check_spelling(tree, classes, source=lists / "classInd.txt", normal=lambda name: name)

    def videos(name: str) -> VideoList:
        file = lists / f"{name}0{split}.txt"
        return _video_list(home, file, classes, tree, max_missing_share=max_missing_share)

    return Annotations(
        name="ucf101",
        classes=classes,
        train=videos("trainlist"),
        val=videos("testlist"),
        unlabeled=None,
        horizontal_flip=True,
    )


def _home_and_lists(root: Path, split: int) -> tuple[Path, Path]:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; accepted: the folder of UCF-101")
    for home in (root / name for name in HOMES):
        for lists in (home / name for name in LIST_FOLDERS):
            if (lists / f"trainlist0{split}.txt").is_file():
                return home, lists
    raise InputError(
        f"{root}: no trainlist0{split}.txt; accepted: UCF-101's lists in ucfTrainTestlist/, annotations/ or the folder "
        "itself"
    )


def _read_classes(file: Path) -> tuple[str, ...]:
    """The lines `1 ApplyEyeMakeup`, in any order."""
    names: dict[int, str] = {}
    for number, line in read_lines(file, accepted="UCF-101's classInd.txt"):
        match = re.fullmatch(r"(\d+)\s+(.+)", line)
        if not match or int(match[1]) in names or match[2] in names.values():
            raise InputError(
                f"{file}, line {number}: received {line!r}; accepted: `1 ApplyEyeMakeup`, each number and name once"
            )
        names[int(match[1])] = match[2]
    if sorted(names) != list(range(1, len(names) + 1)):
        raise InputError(f"{file}: {len(names)} classes with other numbers than 1 to {len(names)}; accepted: those")
    return tuple(names[number] for number in sorted(names))


def _videos(home: Path) -> VideoTree:
    for folder in VIDEO_FOLDERS:
        if (home / folder).is_dir():
            tree = video_tree(home, folder)
            if tree.by_stem:
                return tree
    raise InputError(f"{home}: no videos; accepted: UCF-101/<class>/<video>, videos/<class>/<video> or <class>/<video>")


def _video_list(
    home: Path, file: Path, classes: tuple[str, ...], tree: VideoTree, *, max_missing_share: float
) -> VideoList:
    listed = read_labeled_paths(file)
    labels = [_label(video, classes, file=file) for video in listed]
    found = [tree.by_stem.get(PurePosixPath(video.path).stem) for video in listed]
    folder = tree.where.relative_to(home).as_posix()
    inside = "" if folder == "." else f"{folder}/"
    paths = tuple(path or inside + video.path for path, video in zip(found, listed, strict=True))
    return VideoList(
        root=home,
        paths=paths,
        labels=np.array(labels, dtype=np.int32),
        names=tuple(video.path for video in listed),
        absent=checked_absent(
            paths,
            [path is not None for path in found],
            what=str(file),
            looked_in=str(tree.where),
            max_missing_share=max_missing_share,
        ),
    )


def _label(video: LabeledPath, classes: tuple[str, ...], *, file: Path) -> int:
    """The class is the folder's; a number, counted from 1, must agree."""
    folder = video.path.rpartition("/")[0]
    where = f"{file}, line {video.line}"
    if folder not in classes:
        raise InputError(f"{where}: class {folder!r} is not in classInd.txt{nearest(folder, classes)}")
    label = classes.index(folder)
    if video.label not in (None, label + 1):
        raise InputError(f"{where}: {folder!r} is given number {video.label}; accepted: classInd.txt's, {label + 1}")
    return label
