"""An opened data set: lists read, videos probed, the labeled subset drawn."""

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.cache import cache_root
from pipelines.catalog.manifest import Manifest, open_manifest
from pipelines.catalog.pool import Pool, pool_of
from pipelines.datasets.annotations import Annotations, HoldOut, ListOptions, ReadOptions
from pipelines.datasets.labeled_subset import subset_of
from pipelines.datasets.registry import read_dataset
from pipelines.errors import InputError
from pipelines.progress import Progress, no_progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """What was probed of a data set's videos, and which training videos are labeled."""

    annotations: Annotations
    train: Manifest
    val: Manifest
    unlabeled: Manifest | None
    labeled: np.ndarray  # (L,) int64, ascending indices into train

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names in the order of the labels."""
        return self.annotations.classes

    def problems(self) -> dict[str, str]:
        """Videos that probing found unusable: path -> reason."""
        manifests = (m for m in (self.train, self.val, self.unlabeled) if m is not None)
        return {path: reason for manifest in manifests for path, reason in manifest.problems_by_path().items()}

    def train_pool(self) -> Pool:
        """All usable training videos, with their labels."""
        return pool_of((self.train, self.train.usable))

    def labeled_pool(self) -> Pool:
        """The labeled training videos."""
        return pool_of((self.train, self.labeled))

    def unlabeled_selections(self, *, with_labeled: bool = True) -> list[tuple[Manifest, np.ndarray]]:
        """All training videos and the data set's own unlabeled ones, as (manifest, indices into it).

        `with_labeled` False leaves the labeled videos out.
        """
        train = self.train.usable
        parts = [(self.train, train if with_labeled else np.setdiff1d(train, self.labeled))]
        if self.unlabeled is not None:
            parts.append((self.unlabeled, self.unlabeled.usable))
        return parts

    def unlabeled_pool(self, *, with_labeled: bool = True) -> Pool:
        """The videos of `unlabeled_selections`. The labels serve metrics alone."""
        return pool_of(*self.unlabeled_selections(with_labeled=with_labeled))

    def evaluation_selection(self) -> tuple[Manifest, np.ndarray]:
        """The validation videos of known class, as (manifest, indices into it)."""
        usable = self.val.usable
        return self.val, usable[self.val.labels[usable] >= 0]

    def evaluation_pool(self) -> Pool:
        """The validation videos of known class; made once."""
        return self._evaluation_pool

    @functools.cached_property
    def _evaluation_pool(self) -> Pool:
        return pool_of(self.evaluation_selection())


def open_dataset(
    dataset: str,
    *,
    root: str | Path | None = None,
    labeled: str = "10pct",
    split_seed: int = 0,
    split_scheme: str = "uniform",
    val: str | None = None,
    val_seed: int = 0,
    groups: str = "auto",
    official_split: int = 1,
    path_column: str | None = None,
    label_column: str | None = None,
    outside_root: bool = False,
    max_missing_share: float = 0.05,
    progress: Progress = no_progress,
) -> Dataset:
    """Opens a data set by the name that `--dataset` takes, or by a folder's path.

    root: the folder of a named data set. labeled: 1pct, 10pct, all, a number of videos a class, or a list's file;
    split_seed says which ones. val: hold out so many training videos for validation, 20pct or a number a class; None:
    20pct where there is no validation list. val_seed and groups: which ones; see `HoldOut`. path_column, label_column:
    titles of the columns of csv lists; None: usual ones. outside_root: lists may name videos outside the data set's
    folder. Videos never probed are probed now; the result is kept in the cache folder.
    Raises InputError for whatever does not fit.
    """
    if root is None and (Path(dataset).expanduser().is_dir() or "/" in dataset):
        dataset, root = "folder", Path(dataset).expanduser()
        if not root.is_dir():
            raise InputError(f"dataset: received {str(root)!r}, no folder; accepted: a folder or a data set's name")
    options = ReadOptions(
        official_split=official_split,
        max_missing_share=max_missing_share,
        lists=ListOptions(path_column=path_column, label_column=label_column, outside_root=outside_root),
        hold_out=HoldOut(share=val, seed=val_seed, groups=groups),
        progress=progress,
    )
    annotations = read_dataset(dataset, None if root is None else Path(root), options)

    def draw(usable: np.ndarray) -> np.ndarray:
        return subset_of(
            annotations, labeled, dataset=dataset, split_seed=split_seed, scheme=split_scheme, usable=usable
        )

    return probed(annotations, draw=draw, progress=progress)


def probed(
    annotations: Annotations, *, draw: Callable[[np.ndarray], np.ndarray], progress: Progress = no_progress
) -> Dataset:
    """Probes what is new of a data set's videos and draws the labeled ones.

    draw: usable (N,) bool of the training list -> ascending indices (L,). Raises InputError where no training or no
    validation video is usable.
    """

    def manifest(part: str) -> Manifest | None:
        videos = getattr(annotations, part)
        if videos is None:
            return None
        return open_manifest(
            videos.root, videos.paths, videos.labels, cache_dir=cache_root() / "manifests", progress=progress
        )

    train, val = manifest("train"), manifest("val")
    assert train is not None
    assert val is not None
    for part, opened in (("train", train), ("val", val)):
        if not len(opened.usable):
            path, reason = opened.problem_table()[0]
            raise InputError(
                f"{annotations.name}: none of the {len(opened)} {part} videos is usable; the first: {path}: {reason}"
            )
    _check_classes(annotations, train)
    chosen = draw(np.isin(np.arange(len(train)), train.usable))
    unlabeled = manifest("unlabeled")
    warn_of_shared(val, {"training": train, "unlabeled": unlabeled})
    warn_of_odd({"training": train, "validation": val, "unlabeled": unlabeled})
    return Dataset(annotations=annotations, train=train, val=val, unlabeled=unlabeled, labeled=chosen)


def warn_of_odd(manifests: Mapping[str, Manifest | None]) -> None:
    """Says in the log which usable videos are not what people expect: interlaced ones, and those of one frame."""
    for name, manifest in manifests.items():
        if manifest is None:
            continue
        kinds = {
            "are interlaced, and shown as they are; `cmpl prepare` deinterlaces them": manifest.facts["interlaced"],
            "have a single frame, which every clip repeats": manifest.num_frames == 1,
        }
        for what, is_odd in kinds.items():
            odd = np.flatnonzero(is_odd)
            if len(odd):
                first = manifest.path(int(odd[0]))
                log.warning("%d of %d %s videos, such as %s, %s", len(odd), len(manifest), name, first, what)


def warn_of_shared(val: Manifest, others: Mapping[str, Manifest | None]) -> None:
    """Says in the log which validation videos are the same files as videos of other lists, by links or spellings."""
    kind = np.dtype([("device", "<i8"), ("number", "<i8")])

    def ids(manifest: Manifest) -> np.ndarray:
        return np.ascontiguousarray(manifest.file_ids).view(kind).reshape(-1)

    for name, other in others.items():
        if other is None:
            continue
        shared = np.flatnonzero(np.isin(ids(val), ids(other)) & (val.file_ids[:, 1] >= 0))
        if len(shared):
            first = int(shared[0])
            twin = int(np.flatnonzero(ids(other) == ids(val)[first])[0])
            what = "%d validation videos are the same files as %s videos, such as %s and %s: results will be too good"
            log.warning(what, len(shared), name, val.path(first), other.path(twin))


def _check_classes(annotations: Annotations, train: Manifest) -> None:
    """Raises InputError naming a class of which every training video is unusable."""
    labels = train.labels[train.usable]
    for label in np.flatnonzero(np.bincount(labels[labels >= 0], minlength=len(annotations.classes)) == 0).tolist():
        of_class = np.flatnonzero(train.labels == label).tolist()
        raise InputError(
            f"{annotations.name}: none of the {len(of_class)} training videos of class {annotations.classes[label]!r} "
            f"is usable; the first: {train.paths[of_class[0]]}: {train.problems[of_class[0]]}; accepted: at least one"
        )
