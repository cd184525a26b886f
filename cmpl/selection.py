"""Videos that a run is asked about: files, or a part of its data set."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmpl import build
from cmpl.config import changed
from cmpl.run import Run
from pipelines.cache import cache_root
from pipelines.catalog.manifest import Manifest, open_manifest
from pipelines.catalog.pool import Pool, pool_of
from pipelines.errors import InputError
from pipelines.progress import Progress, no_progress

POOLS = ("unlabeled", "train", "val")


@dataclass(frozen=True, kw_only=True, eq=False)
class Videos:
    """N probed videos in the order in which they are answered; those with a problem keep their places."""

    names: tuple[str, ...]  # what a Prediction calls them
    selections: tuple[tuple[Manifest, np.ndarray], ...]  # manifest and indices into it, N in all

    def __len__(self) -> int:
        return len(self.names)

    def part(self, first: int, last: int | None = None) -> "Videos":
        """Returns those from `first` to before `last`, by default to the end."""
        last = len(self) if last is None else last
        selections, before = [], 0
        for manifest, indices in self.selections:
            selections.append((manifest, indices[max(0, first - before) : max(0, last - before)]))
            before += len(indices)
        return Videos(names=self.names[first:last], selections=tuple(selections))

    def reasons(self) -> list[str | None]:
        """Returns for each video why it cannot be used, or None."""
        return [manifest.problems.get(index) for manifest, indices in self.selections for index in indices.tolist()]

    def usable(self) -> "Videos":
        """Leaves out those with a problem."""
        names = [name for name, reason in zip(self.names, self.reasons(), strict=True) if reason is None]
        selections = [(m, indices[np.isin(indices, m.usable)]) for m, indices in self.selections]
        return Videos(names=tuple(names), selections=tuple(selections))

    def pool(self) -> Pool:
        """Returns the pool of videos that all are usable."""
        return pool_of(*self.selections)


def videos_at(paths: Sequence[str | Path], *, progress: Progress = no_progress) -> Videos:
    """Probes the files at `paths`, each once and in their order. Names are absolute paths.

    Raises InputError where there is none.
    """
    files = list(dict.fromkeys(os.path.abspath(os.path.expanduser(path)) for path in paths))
    if not files:
        raise InputError("paths: received none; accepted: at least one video")
    root = os.path.commonpath([os.path.dirname(file) for file in files])
    listed = [os.path.relpath(file, root) for file in files]
    manifest = _manifest(Path(root), listed, progress=progress)
    return Videos(names=tuple(files), selections=((manifest, np.arange(len(files))),))


def _manifest(root: Path, paths: Sequence[str], *, progress: Progress) -> Manifest:
    unknown = np.full(len(paths), -1, dtype=np.int32)
    return open_manifest(root, paths, unknown, cache_dir=cache_root() / "manifests", progress=progress)


def videos_of_pool(run: Run, pool: str, *, data_root: str | None = None, progress: Progress = no_progress) -> Videos:
    """Opens the run's data set and takes its videos without a label, of training or of validation.

    A file that is labeled is not among the unlabeled ones, also where their list names it. Names are the paths in the
    training list's folder, which a list takes back; absolute ones elsewhere. data_root: where the data set lies now.
    Raises InputError for another `pool` than those of POOLS, and where it is empty.
    """
    if pool not in POOLS:
        raise InputError(f"pool: received {pool!r}; accepted: {', '.join(POOLS)}")
    config = run.config
    if data_root is not None:
        config = changed(config, "data", root=data_root)
    data = build.open_data(config, progress=progress)
    every = np.arange(len(data.train))
    selections: list[tuple[Manifest, np.ndarray]] = {
        "train": [(data.train, every)],
        "val": [(data.val, np.arange(len(data.val)))],
        "unlabeled": [(data.train, np.setdiff1d(every, data.labeled))],
    }[pool]
    if pool == "unlabeled" and data.unlabeled is not None:
        labeled = set(map(tuple, data.train.file_ids[data.labeled].tolist()))
        again = [tuple(file) in labeled for file in data.unlabeled.file_ids.tolist()]
        selections.append((data.unlabeled, np.flatnonzero(~np.array(again, dtype=bool))))
    names = [
        manifest.paths[index] if manifest.root == data.train.root else str(manifest.path(index))
        for manifest, indices in selections
        for index in indices.tolist()
    ]
    if not names:
        raise InputError(f"pool: received {pool!r}, which has no video; accepted: {', '.join(POOLS)}, or paths")
    return Videos(names=tuple(names), selections=tuple(selections))
