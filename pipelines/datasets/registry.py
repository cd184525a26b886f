"""The names of the data sets -> their readers, each imported when it is asked for."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from pipelines.datasets.annotations import Annotations, VideoList
from pipelines.datasets.tree import checked_absent, present
from pipelines.errors import InputError, nearest
from pipelines.progress import Progress, no_progress

DATASETS = ("demo", "folder", "k400", "lists", "ucf101")
UNLABELED = ("folder", "k400", "lists", "ucf101")


def read_dataset(
    name: str,
    root: Path | None,
    *,
    official_split: int = 1,
    max_missing_share: float = 0.05,
    progress: Progress = no_progress,
) -> Annotations:
    """The data set `name` under `root`, which the demo alone can do without.

    Raises InputError for an unknown name, naming the nearest, and whatever the reader refuses.
    """
    if name not in DATASETS:
        raise InputError(f"data.dataset: received {name!r}{nearest(name, DATASETS)}")
    if name == "demo":
        from pipelines.datasets.demo import read_demo

        return read_demo(root, progress=progress)
    if root is None:
        raise InputError("data.root: received none; accepted: the data set's folder (--data-root or $CMPL_DATA)")
    return _reader(name, official_split=official_split, max_missing_share=max_missing_share)(root)


def read_unlabeled(
    name: str, root: Path | None, *, official_split: int = 1, max_missing_share: float = 0.05
) -> VideoList:
    """The training videos of a data set, its unlabelled ones included, all labels -1; of a folder without train/ and
    train.csv, all videos in it."""
    if name not in UNLABELED:
        raise InputError(f"data.unlabeled: received {name!r}{nearest(name, UNLABELED)}")
    if root is None:
        raise InputError("data.unlabeled_root: received none; accepted: the folder of the unlabelled videos")
    if name == "k400":
        from pipelines.datasets.kinetics import read_kinetics_train

        videos = read_kinetics_train(root, max_missing_share=max_missing_share)
    elif name == "folder" and not any((root / train).exists() for train in ("train", "train.csv")):
        from pipelines.datasets.folder import read_videos

        videos = read_videos(root)
    else:
        annotations = _reader(name, official_split=official_split, max_missing_share=max_missing_share)(root)
        videos = annotations.train
        if annotations.unlabeled is not None:
            videos = _joined(videos, annotations.unlabeled)
    return dataclasses.replace(videos, labels=np.full(len(videos), -1, dtype=np.int32))


def _reader(name: str, *, official_split: int, max_missing_share: float) -> Callable[[Path], Annotations]:
    if name == "k400":
        from pipelines.datasets.kinetics import read_kinetics

        return partial(read_kinetics, max_missing_share=max_missing_share)
    if name == "ucf101":
        from pipelines.datasets.ucf101 import read_ucf101

        return partial(read_ucf101, split=official_split, max_missing_share=max_missing_share)
    if name == "lists":
        from pipelines.datasets.lists import read_lists

        return partial(read_lists, split=official_split, max_missing_share=max_missing_share)
    return partial(_read_folder, max_missing_share=max_missing_share)


def _read_folder(root: Path, *, max_missing_share: float) -> Annotations:
    """A folder of one's own; with lists, its missing files are found."""
    from pipelines.datasets.folder import read_folder

    annotations = read_folder(root)
    if not (root / "train.csv").exists():
        return annotations

    def searched(part: str) -> VideoList:
        videos = getattr(annotations, part)
        absent = checked_absent(
            videos.paths,
            present(videos.root, videos.paths),
            what=str(root / f"{part}.csv"),
            looked_in=str(videos.root),
            max_missing_share=max_missing_share,
        )
        return dataclasses.replace(videos, absent=absent)

    return dataclasses.replace(annotations, train=searched("train"), val=searched("val"))


def _joined(first: VideoList, second: VideoList) -> VideoList:
    """Two lists under one root."""
    return VideoList(
        root=first.root,
        paths=first.paths + second.paths,
        labels=np.concatenate([first.labels, second.labels]),
        absent=(*first.absent, *(len(first) + index for index in second.absent)),
    )
