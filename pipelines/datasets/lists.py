"""A data set in the lists of PySlowFast or MMAction2: a line `path label` a video, labels counted from 0.

Looked for in the root, then in its annotations/:

    train.csv, train.txt, train_list.txt, <any>_train_list_videos.txt or <any>_train_split_N_videos.txt (N: the official
    split asked for); the same with val, validation or test for validation, the first of these that there is; and,
    optional, with unlabeled, whose lines may be the path alone
    classes.txt, optional: the name of class 0, 1, ... one a line

Paths are relative to the root, or to videos_train/, train/ or videos/ in it (videos_val/ ... for validation), whichever
holds more of them. Absolute paths are taken as they are.
"""

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.datasets.annotations import Annotations, ReadOptions, VideoList, needed
from pipelines.datasets.text_files import LabeledPath, read_labeled_paths, read_lines
from pipelines.datasets.tree import checked_absent, present
from pipelines.errors import InputError

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
    return read_lists(needed(root), split=options.official_split, max_missing_share=options.max_missing_share)


def read_lists(root: Path, *, split: int = 1, max_missing_share: float = 0.05) -> Annotations:
    """The data set whose lists lie under `root`; see the top of the file for what is looked for.

    Missing files keep their places in the lists. Raises InputError where no list or more than one fits, a line is not
    of the format, a label is missing where one must be or beyond classes.txt, and where more than `max_missing_share`
    of a list's files are missing.
    """
    root = Path(root)
    lists = [found for part in WORDS if (found := _find(root, part, split=split)) is not None]
    classes = _classes(root, lists)
    for found in lists:
        _check_labels(found, len(classes))
    base = _base(root, lists)
    parts = {found.part: _video_list(found, base=base, max_missing_share=max_missing_share) for found in lists}
    return Annotations(
        name="lists",
        classes=classes,
        train=parts["train"],
        val=parts["val"],
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
    if part == "unlabeled":
        return None
    raise InputError(
        f"{root}: no list for {part}; accepted: {part}.csv, {part}.txt, {part}_list.txt, "
        f"<name>_{part}_list_videos.txt or <name>_{part}_split_{split}_videos.txt here or in annotations/"
    )


def _classes(root: Path, lists: Sequence[_List]) -> tuple[str, ...]:
    """Without classes.txt a class is called by its number."""
    for file in (root / "classes.txt", root / "annotations" / "classes.txt"):
        if file.is_file():
            return tuple(line for _, line in read_lines(file, accepted="one class a line"))
    labels = [video.label for found in lists for video in found.videos if video.label is not None]
    return tuple(str(label) for label in range(max(labels, default=-1) + 1))


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
        return sum((root / (folder + name)).exists() for name in tried)

    return max(folders, key=num_there)
