"""Data sets by name: the built-in ones, those of plug-ins, and `module:function`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipelines.datasets.annotations import Annotations, ReadOptions, VideoList, needed
from pipelines.datasets.exports import list_file
from pipelines.datasets.held_out import with_held_out
from pipelines.datasets.tree import as_spelled, checked_absent, present
from pipelines.errors import InputError, nearest
from pipelines.progress import no_progress
from pipelines.registry import Registry

Reader = Callable[[Path | None, ReadOptions], Annotations]
"""`read(root, options)`. `root` is None where the user named no folder. Raises InputError for what it refuses."""

_BUILT_IN = {
    "demo": "pipelines.datasets.demo:read",
    "folder": "pipelines.datasets.registry:read_own_folder",
    "k400": "pipelines.datasets.kinetics:read",
    "lists": "pipelines.datasets.lists:read",
    "ucf101": "pipelines.datasets.ucf101:read",
}
DEFAULTS = ReadOptions()
DATASETS = tuple(_BUILT_IN)
"""Names of the built-in data sets."""

DATASETS_REGISTRY: Registry[Reader] = Registry("data set", group="cmpl.datasets", built_in=_BUILT_IN)
register_dataset = DATASETS_REGISTRY.register


def read_dataset(name: str, root: Path | None, options: ReadOptions = DEFAULTS) -> Annotations:
    """Reads the data set `name` (built in, registered, or `module:function`) under `root`.

    The demo alone of the built-in ones can do without a root. Where there is no validation list, or `options.hold_out`
    wants another one, it is drawn from the training list. Raises InputError for an unknown name, naming the nearest,
    and for whatever the reader refuses.
    """
    return with_held_out(_read(name, root, options, field="data.dataset"), options.hold_out)


def read_unlabeled(name: str, root: Path | None, options: ReadOptions = DEFAULTS) -> VideoList:
    """Reads the training videos of a data set, its unlabeled ones included, all labels -1.

    Takes all videos in a folder that has neither train/ nor train.csv. Raises InputError as `read_dataset` does, and
    for the demo.
    """
    if name == "demo":
        raise InputError(f"data.unlabeled: received {name!r}{nearest(name, _usable_as_unlabeled())}")
    if name in DATASETS and root is None:
        raise InputError("data.unlabeled_root: received none; accepted: the folder of the unlabeled videos")
    if name == "k400":
        from pipelines.datasets.kinetics import read_kinetics_train

        videos = read_kinetics_train(needed(root), max_missing_share=options.max_missing_share)
    elif name == "folder" and list_file(needed(root), "train") is None and not (needed(root) / "train").exists():
        from pipelines.datasets.folder import read_videos

        videos = read_videos(needed(root))
    else:
        silent = dataclasses.replace(options, progress=no_progress)
        annotations = _read(name, root, silent, field="data.unlabeled")
        videos = annotations.train
        if annotations.unlabeled is not None:
            videos = _joined(videos, annotations.unlabeled)
    return dataclasses.replace(videos, labels=np.full(len(videos), -1, dtype=np.int32))


def _usable_as_unlabeled() -> tuple[str, ...]:
    return tuple(name for name in DATASETS_REGISTRY.names() if name != "demo")


def _read(name: str, root: Path | None, options: ReadOptions, *, field: str) -> Annotations:
    annotations = DATASETS_REGISTRY.get(name, field=field)(root, options)
    if not isinstance(annotations, Annotations):
        kind = type(annotations).__name__
        raise InputError(f"{field}: received {kind} from the reader of {name!r}; accepted: Annotations")
    return annotations


def read_own_folder(root: Path | None, options: ReadOptions) -> Annotations:
    """Reads a folder of one's own. Where it has lists, files that are missing become `absent`."""
    from pipelines.datasets.folder import has_lists, read_folder

    root = needed(root)
    annotations = read_folder(root, lists=options.lists, is_val_drawn=options.hold_out.share is not None)
    if not has_lists(root):
        return annotations

    def searched(part: str) -> VideoList:
        videos: VideoList = getattr(annotations, part)
        if not len(videos):
            return videos
        paths = as_spelled(videos.root, videos.paths)
        absent = checked_absent(
            paths,
            present(videos.root, paths),
            what=str(list_file(root, part)),
            looked_in=str(videos.root),
            max_missing_share=options.max_missing_share,
        )
        return dataclasses.replace(videos, paths=paths, absent=absent)

    return dataclasses.replace(annotations, train=searched("train"), val=searched("val"))


def _joined(first: VideoList, second: VideoList) -> VideoList:
    """Joins two lists under one root. Raises InputError where the roots differ."""
    if first.root != second.root:
        raise InputError(
            f"data.unlabeled: received training videos in {first.root} and unlabeled ones in {second.root}; "
            "accepted: one root"
        )
    return VideoList(
        root=first.root,
        paths=first.paths + second.paths,
        labels=np.concatenate([first.labels, second.labels]),
        absent=(*first.absent, *(len(first) + index for index in second.absent)),
    )
