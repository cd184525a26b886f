"""A data set in the lists of PySlowFast or MMAction2: a line `path label` a video, labels counted from 0.

Looked for in the root, then in its annotations/:

    train.csv, train.txt, train_list.txt, <any>_train_list_videos.txt or <any>_train_split_N_videos.txt (N: the official
    split asked for); if you like, the same with val, validation or test for validation, the first that there is; and,
    optional, with unlabeled, whose lines may be the path alone
    classes.txt, optional: the name of class 0, 1, ... one a line

Labels count from 0. Where they are 1 to K, for the K classes of classes.txt or without one, they count from 1, and the
log says so.

Paths are relative to the root, or to videos_train/, train/ or videos/ in it (videos_val/ ... for validation), whichever
holds more of them. Absolute paths are taken as they are. Paths with `..` that lead out of the root are refused, unless
the user allows them.
"""

import dataclasses
import itertools
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.datasets.annotations import Annotations, ReadOptions, VideoList, needed
from pipelines.datasets.text_files import LabeledPath, read_classes, read_labeled_paths
from pipelines.datasets.tree import checked_absent, present
from pipelines.errors import InputError

log = logging.getLogger(__name__)

WORDS = {"train": ("train",), "val": ("val", "validation", "test"), "unlabeled": ("unlabeled",)}
_TRIED = 200
"""So many paths, evenly spaced, decide which folder a list's paths are relative to."""


@dataclass(frozen=True, kw_only=True)
class _List:
    part: str
    file: Path
    videos: list[LabeledPath]


def read(root: Path | None, options: ReadOptions) -> Annotations:
    """Reads the data set `lists` for `registry`."""
    return read_lists(
        needed(root),
        split=options.official_split,
        max_missing_share=options.max_missing_share,
        outside_root=options.lists.outside_root,
    )


def read_lists(
    root: Path, *, split: int = 1, max_missing_share: float = 0.05, outside_root: bool = False
) -> Annotations:
    """Reads the data set whose lists lie under `root`; see the top of the file for what is looked for.

    Missing files keep their places in the lists. Raises InputError where no list or more than one fits, a line is not
    of the format, a label is missing where one must be or beyond the classes, a path leads out of the root without
    `outside_root`, and where more than `max_missing_share` of a list's files are missing.
    """
    root = Path(root)
    lists = [found for part in WORDS if (found := _find(root, part, split=split)) is not None]
    if not outside_root:
        _check_inside(lists)
    lists, classes = _counted(root, lists)
    for found in lists:
        _check_labels(found, len(classes))
    base = _base(root, lists)
    parts = {found.part: _video_list(found, base=base, max_missing_share=max_missing_share) for found in lists}
    return Annotations(
        name="lists",
        classes=classes,
        train=parts["train"],
        val=parts.get("val") or VideoList(root=base, paths=(), labels=np.zeros(0, dtype=np.int32)),
        unlabeled=parts.get("unlabeled"),
        horizontal_flip=True,
    )


def _find(root: Path, part: str, *, split: int) -> _List | None:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; accepted: the folder of train.csv, train_list.txt or the like")
    for folder, word in itertools.product((root, root / "annotations"), WORDS[part]):
        pattern = re.compile(rf"{word}(_list)?\.(csv|txt)|.+_{word}(_list|_split_{split})?(_videos)?\.(csv|txt)")
        names = sorted(name for name in os.listdir(folder) if pattern.fullmatch(name)) if folder.is_dir() else []
        if len(names) > 1:
            raise InputError(f"{folder}: received several lists for {part}, {' and '.join(names)}; accepted: one")
        if names:
            return _List(part=part, file=folder / names[0], videos=read_labeled_paths(folder / names[0]))
    if part != "train":
        return None
    raise InputError(
        f"{root}: no list for {part}; accepted: {part}.csv, {part}.txt, {part}_list.txt, "
        f"<name>_{part}_list_videos.txt or <name>_{part}_split_{split}_videos.txt here or in annotations/"
    )


def _check_inside(lists: Sequence[_List]) -> None:
    for found in lists:
        for video in found.videos:
            if ".." in video.path and os.path.normpath(video.path).startswith("../"):
                raise InputError(
                    f"{found.file}, line {video.line}: received the path {video.path!r}; accepted: a path inside the "
                    "root, or any with --set data.outside_root=true"
                )


def _counted(root: Path, lists: list[_List]) -> tuple[list[_List], tuple[str, ...]]:
    """Returns (lists with labels from 0, classes). Without classes.txt a class is called by its number."""
    listed = [video for found in lists if found.part != "unlabeled" for video in found.videos]
    labels = {video.label for video in listed if video.label is not None and video.label >= 0}
    file = next((f for f in (root / "classes.txt", root / "annotations" / "classes.txt") if f.is_file()), None)
    classes = None if file is None else read_classes(file)
    num_classes = max(labels, default=-1) if classes is None else len(classes)
    if (
        labels
        and min(labels) == 1
        and max(labels) == num_classes
        and (classes is not None or len(labels) == max(labels))
    ):
        log.warning("%s: labels are 1 to %d: they are taken to count from 1", lists[0].file, num_classes)
        return [_from_zero(found) for found in lists], classes or tuple(str(label) for label in sorted(labels))
    if classes is not None:
        return lists, classes
    if max(labels, default=-1) >= len(listed):  # else a wrong number would make as many classes
        worst = max((v.label or 0, -v.line, found.file) for found in lists for v in found.videos)
        raise InputError(
            f"{worst[2]}, line {-worst[1]}: received label {worst[0]}; accepted: 0 to {len(listed) - 1}, since a class "
            f"needs a video and {len(listed)} are listed"
        )
    return lists, tuple(str(label) for label in range(max(labels, default=-1) + 1))


def _from_zero(found: _List) -> _List:
    videos = [
        dataclasses.replace(video, label=video.label - 1) if video.label is not None and video.label > 0 else video
        for video in found.videos
    ]
    return dataclasses.replace(found, videos=videos)


def _check_labels(found: _List, num_classes: int) -> None:
    if found.part == "unlabeled":
        return
    for video in found.videos:
        if video.label is None and found.part == "val":
            raise InputError(f"{found.file}, line {video.line}: {video.path!r} has no label; accepted: `path label`")
        if video.label is not None and not -1 <= video.label < num_classes:
            raise InputError(
                f"{found.file}, line {video.line}: received label {video.label}; accepted: 0 to {num_classes - 1}, "
                "or -1 where the class is unknown"
            )


def _base(root: Path, lists: Sequence[_List]) -> Path:
    """Returns the folder that paths are relative to: the root, or the one that absolute paths elsewhere share."""
    absolute = lists[0].videos[0].path.startswith("/")
    for found in lists:
        for video in found.videos:
            if video.path.startswith("/") != absolute:
                raise InputError(
                    f"{found.file}, line {video.line}: received {video.path!r} after {lists[0].videos[0].path!r}; "
                    "accepted: either absolute or relative paths"
                )
    folders = {os.path.dirname(video.path) for found in lists for video in found.videos} if absolute else set()
    if all(Path(folder).is_relative_to(root) for folder in folders):
        return root
    return Path(os.path.commonpath(folders))


def _video_list(found: _List, *, base: Path, max_missing_share: float) -> VideoList:
    """Names are the paths as listed, absolute ones from `base`: they do not depend on where the videos lie."""
    if found.videos[0].path.startswith("/"):
        names, prefix = tuple(os.path.relpath(video.path, base) for video in found.videos), ""
    else:
        names = tuple(video.path for video in found.videos)
        prefix = _prefix(base, names, part=found.part)
    paths = tuple(prefix + name for name in names)
    known = [-1 if video.label is None or found.part == "unlabeled" else video.label for video in found.videos]
    return VideoList(
        root=base,
        paths=paths,
        labels=np.array(known, dtype=np.int32),
        names=names,
        absent=checked_absent(
            paths,
            present(base, paths),
            what=str(found.file),
            looked_in=str(base / prefix),
            max_missing_share=max_missing_share,
        ),
    )


def _prefix(root: Path, names: Sequence[str], *, part: str) -> str:
    tried = names[:: max(1, len(names) // _TRIED)]
    folders = ("", *(f"{stem}{word}/" for word in WORDS[part] for stem in ("videos_", "")), "videos/")

    def num_there(folder: str) -> int:
        return sum(os.path.exists(f"{root}/{folder}{name}") for name in tried)

    return max(folders, key=num_there)
