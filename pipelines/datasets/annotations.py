"""Annotations of a data set: classes and lists of videos, before any video is opened.

A family of data sets is one function `read(root, options) -> Annotations` in a file of its own; `registry` names them.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import InputError
from pipelines.progress import Progress, no_progress


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoList:
    """N videos by name. Raises InputError for bad labels, and paths or names empty, absolute or there twice.

    `names` identify the videos in every copy of the data set, whatever its folders: labeled subsets are drawn and
    written by name. None: the paths do. A video in `absent` was looked for and not found; it keeps its place, so that
    a list is the same on every machine.
    """

    root: Path
    paths: tuple[str, ...]  # relative to root, with forward slashes
    labels: np.ndarray  # (N,) int32, -1 where the class is unknown
    names: tuple[str, ...] | None = None
    absent: tuple[int, ...] = ()  # indices, ascending

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.paths),) or self.labels.dtype != np.int32:
            received = f"{self.labels.dtype} {self.labels.shape}"
            raise InputError(f"labels: received {received}; accepted: int32, one for each of {len(self.paths)} paths")
        if len(self.labels) and self.labels.min() < -1:
            raise InputError(f"labels: received {self.labels.min()}; accepted: -1 (unknown) or a class index")
        if self.names is not None and len(self.names) != len(self.paths):
            raise InputError(f"names: received {len(self.names)}; accepted: one for each of {len(self.paths)} paths")
        for listed in (self.paths, self.names or ()):
            if len(set(listed)) < len(listed):
                path, times = Counter(listed).most_common(1)[0]
                raise InputError(f"{self.root}: {path!r} is listed {times} times; accepted: each video once")
        for path in self.paths:
            if not path or path.startswith("/"):
                raise InputError(f"{self.root}: received the path {path!r}; accepted: paths relative to this folder")

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """A data set: K classes, a training list, a validation list, maybe more videos without labels.

    `horizontal_flip`: whether a mirrored video is still of its class. Raises InputError where the parts
    contradict each other: labels outside the classes, an empty training list, classes named twice or without a
    training video, a video in both training and validation.

    A reader leaves `val` empty where there is no validation list: one is drawn then, see `held_out`.
    """

    name: str
    classes: tuple[str, ...]
    train: VideoList
    val: VideoList
    unlabeled: VideoList | None
    horizontal_flip: bool

    def __post_init__(self) -> None:
        if not self.classes:
            raise InputError(f"{self.name}: no classes; accepted: at least one")
        twice = [name for name, times in Counter(self.classes).items() if times > 1]
        if twice:
            raise InputError(f"{self.name}: class {twice[0]!r} is named twice; accepted: each class once")
        if not len(self.train):
            raise InputError(f"{self.name}: no videos in train; accepted: at least one")
        parts = {"train": self.train, "val": self.val, "unlabeled": self.unlabeled}
        for part, listed in parts.items():
            if listed is not None and len(listed) and listed.labels.max() >= len(self.classes):
                accepted = f"-1 to {len(self.classes) - 1}"
                raise InputError(f"{self.name}: {part}: received label {listed.labels.max()}; accepted: {accepted}")
        counts = np.bincount(self.train.labels[self.train.labels >= 0], minlength=len(self.classes))
        if not counts.all():
            empty = self.classes[int(np.argmin(counts))]
            raise InputError(f"{self.name}: train: empty class {empty!r}; accepted: at least one video a class")
        if self.train.root == self.val.root:
            shared = set(self.train.paths) & set(self.val.paths)
            if shared:
                raise InputError(f"{self.name}: {min(shared)!r} is in both train and val; accepted: in one")


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """What a user says of his lists.

    path_column, label_column: titles of the columns; None: usual ones are looked for. outside_root: a list may name
    videos outside the data set's folder.
    """

    path_column: str | None = None
    label_column: str | None = None
    outside_root: bool = False


@dataclass(frozen=True, kw_only=True)
class HoldOut:
    """How a validation list is drawn from the training list; see `held_out`.

    share: `20pct`, a number of videos a class, or None: only where the data set has no validation list. seed: which
    draw. groups: `auto`, `none`, or a regular expression that finds the group in a path.
    """

    share: str | None = None
    seed: int = 0
    groups: str = "auto"


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Settings handed to every reader; a reader ignores those that mean nothing to it.

    official_split: number of the official train/test split, from 1. max_missing_share: accepted share of a list's
    videos that are missing, 0 to 1. lists: what the user says of his lists. hold_out: how a validation list is drawn,
    which no reader need know. progress: called by a reader that takes long.
    """

    official_split: int = 1
    lists: ListOptions = ListOptions()
    max_missing_share: float = 0.05
    hold_out: HoldOut = HoldOut()
    progress: Progress = no_progress


def needed(root: Path | None) -> Path:
    """Returns the root of a data set that cannot do without one. Raises InputError where it is None."""
    if root is None:
        raise InputError("data.root: received none; accepted: the data set's folder (--data-root or $CMPL_DATA)")
    return root
