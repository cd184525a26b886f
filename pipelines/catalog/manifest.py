"""The facts of every video of a list, probed once.

Legend: N videos of the list.
"""

import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.catalog.manifest_cache import (
    FACTS,
    SAME_FACTS,
    FactTable,
    ProbeResult,
    load_table,
    manifest_file,
    save_table,
)
from pipelines.errors import InputError, VideoError
from pipelines.progress import Progress, no_progress
from pipelines.video.probe import UnreadableError, VideoFacts, probe

SAVE_EVERY_SECONDS = 60.0
"""An interrupted probing loses at most this much work."""

_PROBED_AT_ONCE = 1024
_STATS_A_TASK, _STAT_THREADS = 4096, 16
_NOT_THERE = -1, -1, -1, -1
_SLOW_SHARE = 0.1
"""Where this process sleeps for more of the first answers, the disk is worth threads."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """One list of N videos and the facts of each: plain arrays, cheap to hand to a worker.

    A video with an entry in `problems` {index: reason} cannot be used; its facts are zero.
    """

    root: Path
    paths: tuple[str, ...]  # relative to root
    labels: np.ndarray  # (N,) int32, -1 where the class is unknown
    facts: np.ndarray  # (N,) FACTS
    file_ids: np.ndarray  # (N, 2) int64, device and number of each file there, -1 where there is none
    codings: tuple[tuple[str, str], ...]  # (codec, pixel format)
    problems: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def num_frames(self) -> np.ndarray:  # (N,) int32
        return self.facts["num_frames"]

    @property
    def fps(self) -> np.ndarray:  # (N,) float64
        return self.facts["fps"]

    @property
    def width(self) -> np.ndarray:  # (N,) int32, pixels of the upright picture
        return self.facts["width"]

    @property
    def height(self) -> np.ndarray:  # (N,) int32, pixels of the upright picture
        return self.facts["height"]

    @property
    def stored(self) -> np.ndarray:  # (N, 4) int64: stored width and height in pixels, quarter turns, if mirrored
        names = ("stored_width", "stored_height", "turns", "mirrored")
        columns = [self.facts[name].astype(np.int64) for name in names]
        return np.stack(columns, axis=1)

    @property
    def exact_seek(self) -> np.ndarray:  # (N,) bool
        return self.facts["exact_seek"]

    @property
    def usable(self) -> np.ndarray:
        """Indices of the videos without a problem, int64, ascending."""
        mask = np.ones(len(self), dtype=bool)
        mask[list(self.problems)] = False
        return np.flatnonzero(mask)

    def path(self, index: int) -> Path:
        """Returns the path of video `index`."""
        return self.root / self.paths[index]

    def video(self, index: int) -> VideoFacts:
        """Returns the facts of video `index`. Raises VideoError with its reason if it has a problem."""
        if index in self.problems:
            raise VideoError(self.problems[index])
        row = self.facts[index]
        codec, pixel_format = self.codings[row["coding"]]
        return VideoFacts(
            **{name: row[name].item() for name in (*SAME_FACTS, "size_bytes", "mtime_ns")},
            codec=codec,
            pixel_format=pixel_format,
        )

    def problems_by_path(self) -> dict[str, str]:
        """Returns {absolute path: reason} of every video that cannot be used, in the list's order."""
        return {str(self.path(index)): self.problems[index] for index in sorted(self.problems)}

    def problem_table(self) -> list[tuple[str, str]]:
        """Lists (relative path, reason) of every video that cannot be used, in the list's order."""
        return [(self.paths[index], self.problems[index]) for index in sorted(self.problems)]


def open_manifest(
    root: Path,
    paths: Sequence[str],
    labels: np.ndarray,
    *,
    cache_dir: Path,
    num_workers: int | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Opens the manifest of the videos `paths` (relative to `root`) with `labels` (N,), -1 for unknown.

    Files never probed, or changed in size or time since, are probed now by `num_workers` threads (default:
    two a core, at most 32). The results are kept in one file of `cache_dir`, for all lists of the same root,
    also when interrupted. A video that is missing or broken gets a problem, never an exception.
    Raises InputError if paths and labels differ in number or `cache_dir` cannot be written.
    """
    root, paths, labels = Path(root).resolve(), tuple(paths), np.array(labels, dtype=np.int32)
    if labels.shape != (len(paths),):
        raise InputError(f"labels: received shape {labels.shape}; accepted: one for each of {len(paths)} paths")
    cache_file = manifest_file(root, cache_dir=cache_dir)
    table = load_table(cache_file)
    sizes, mtimes, file_ids, refused = _stat_all(root, paths)
    rows = table.rows_of(paths)
    known = rows >= 0
    known[known] = (table.facts["size_bytes"][rows[known]] == sizes[known]) & (
        table.facts["mtime_ns"][rows[known]] == mtimes[known]
    )
    stale = [index for index in np.flatnonzero(~known).tolist() if index not in refused]
    outcomes = _probe_all(root, paths, stale, num_workers=num_workers, progress=progress)
    results: dict[str, ProbeResult] = {}
    saved_at = time.monotonic()
    try:
        for index, outcome in outcomes:
            if isinstance(outcome, UnreadableError):
                refused[index] = str(outcome)  # says nothing of the file: not remembered
                continue
            results[paths[index]] = ProbeResult(
                facts=outcome if isinstance(outcome, VideoFacts) else None,
                reason=str(outcome) if isinstance(outcome, VideoError) else "",
                size_bytes=int(sizes[index]),
                mtime_ns=int(mtimes[index]),
            )
            if time.monotonic() - saved_at > SAVE_EVERY_SECONDS:
                table, results = table.with_results(results), {}
                save_table(cache_file, table)
                saved_at = time.monotonic()
    finally:  # an interrupt, too, keeps what was done
        if results:
            table = table.with_results(results)
            save_table(cache_file, table)
    return _manifest_of(root, paths, labels, table=table, file_ids=file_ids, refused=refused)


def _manifest_of(
    root: Path,
    paths: tuple[str, ...],
    labels: np.ndarray,
    *,
    table: FactTable,
    file_ids: np.ndarray,
    refused: Mapping[int, str],
) -> Manifest:
    rows = table.rows_of(paths)
    facts = np.zeros(len(paths), dtype=FACTS)
    present = np.ones(len(paths), dtype=bool)
    present[list(refused)] = False
    facts[present] = table.facts[rows[present]]
    problems = dict(refused)
    if table.problems:
        bad_rows = np.isin(rows, list(table.problems)) & present
        problems |= {index: table.problems[rows[index]] for index in np.flatnonzero(bad_rows).tolist()}
    labels.setflags(write=False)
    facts.setflags(write=False)
    return Manifest(
        root=root,
        paths=paths,
        labels=labels,
        facts=facts,
        file_ids=file_ids,
        codings=table.codings,
        problems=problems,
    )


def _stat_all(root: Path, paths: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, str]]:
    """Returns sizes (N,), times (N,), file ids (N, 2), {index: why none}.

    Threads wait for a slow disk side by side. Where answers come at once, threads would only wait for each other.
    """
    found = np.empty((len(paths), 4), dtype=np.int64)
    refused: dict[int, str] = {}
    prefix = f"{root}/"

    def numbers(first: int) -> Iterator[int]:
        """Size, time, device and inode of some files, one after another: lists of them take half as long again."""
        for index, path in enumerate(paths[first : first + _STATS_A_TASK], first):
            try:
                status = os.stat(prefix + path)
            except (FileNotFoundError, NotADirectoryError):
                refused[index] = "missing"
                yield from _NOT_THERE
            except (OSError, ValueError) as error:
                refused[index] = f"unreadable: {getattr(error, 'strerror', None) or error}"
                yield from _NOT_THERE
            else:
                yield status.st_size
                yield status.st_mtime_ns
                yield status.st_dev
                yield status.st_ino if status.st_ino < 1 << 63 else status.st_ino - (1 << 64)

    def stat_some(first: int) -> None:
        part = found[first : first + _STATS_A_TASK]
        part.reshape(-1)[:] = np.fromiter(numbers(first), np.int64, part.size)

    slept_before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    stat_some(0)
    num_slept = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - slept_before
    rest = range(_STATS_A_TASK, len(paths), _STATS_A_TASK)
    if num_slept > _SLOW_SHARE * min(_STATS_A_TASK, len(paths)):
        with ThreadPoolExecutor(_STAT_THREADS) as pool:
            list(pool.map(stat_some, rest))
    else:
        for first in rest:
            stat_some(first)
    return found[:, 0], found[:, 1], found[:, 2:], dict(sorted(refused.items()))


def _probe_all(
    root: Path, paths: Sequence[str], indices: Sequence[int], *, num_workers: int | None, progress: Progress
) -> Iterator[tuple[int, VideoFacts | VideoError]]:
    """Threads, not processes: most of a probe is C code that holds no lock, and threads start at once."""

    def probe_one(index: int) -> VideoFacts | VideoError:
        try:
            return probe(root / paths[index])
        except VideoError as error:
            return error

    with ThreadPoolExecutor(num_workers or min(32, 2 * len(os.sched_getaffinity(0)))) as pool:
        for first in range(0, len(indices), _PROBED_AT_ONCE):  # in parts, so that an interrupt is heard soon
            part = indices[first : first + _PROBED_AT_ONCE]
            for done, (index, outcome) in enumerate(zip(part, pool.map(probe_one, part), strict=True), 1):
                progress(first + done, len(indices), "probing videos")
                yield index, outcome
