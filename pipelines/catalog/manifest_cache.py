"""The file in which a manifest's facts outlive the process: one a root, numpy arrays only, nothing pickled.

Legend: R rows, one for each video ever probed under the root; P keyframes of all of them.
"""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.files import written_whole
from pipelines.video.probe import VideoFacts

log = logging.getLogger(__name__)

_FORMAT = 2
FACTS = np.dtype(
    [
        ("num_frames", "<i4"),
        ("fps", "<f8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("exact_seek", "?"),
        ("size_bytes", "<i8"),
        ("mtime_ns", "<i8"),
        ("coding", "<u2"),  # index into the table's (codec, pixel format) pairs
        ("first_keyframe", "<i8"),  # where this video's keyframes begin among all P
        ("num_keyframes", "<i4"),
    ]
)
"""One row a video."""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """A probe's outcome, good or bad, of a file of this size and time."""

    facts: VideoFacts | None
    reason: str  # why there are no facts
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True, eq=False)
class FactTable:
    """Everything ever probed under one root."""

    paths: tuple[str, ...]  # (R,) relative to the root
    facts: np.ndarray  # (R,) FACTS
    keyframe_pool: np.ndarray  # (P,) int32, presentation indices
    codings: tuple[tuple[str, str], ...]  # (codec, pixel format); the first is that of no video
    problems: Mapping[int, str]  # row -> reason

    def rows_of(self, paths: tuple[str, ...]) -> np.ndarray:
        """(N,) int64: each path's row, -1 where it was never probed."""
        if paths == self.paths:  # the usual case
            return np.arange(len(paths))
        rows = dict(zip(self.paths, range(len(self.paths)), strict=True))
        return np.array([rows.get(path, -1) for path in paths], dtype=np.int64)

    def with_results(self, results: Mapping[str, ProbeResult]) -> "FactTable":
        """This table, the results in place of what it held of the same paths."""
        kept = np.array([row for row, path in enumerate(self.paths) if path not in results], dtype=np.int64)
        old = self.facts[kept]
        pool = [self.keyframe_pool[_runs(old["first_keyframe"], old["num_keyframes"])]]
        codings = {coding: index for index, coding in enumerate(self.codings)}
        problems = {row: self.problems[was] for row, was in enumerate(kept.tolist()) if was in self.problems}
        rows = []
        for row, result in enumerate(results.values(), start=len(kept)):
            video = result.facts
            if video is None:
                problems[row] = result.reason
                rows.append((0, 0.0, 0, 0, False, result.size_bytes, result.mtime_ns, 0, 0, 0))
                continue
            shape = (video.num_frames, video.fps, video.width, video.height, video.exact_seek)
            coding = codings.setdefault((video.codec, video.pixel_format), len(codings))
            rows.append((*shape, result.size_bytes, result.mtime_ns, coding, 0, len(video.keyframes)))
            pool.append(np.array(video.keyframes, dtype=np.int32))
        facts = np.concatenate([old, np.array(rows, dtype=FACTS)])
        facts["first_keyframe"] = np.cumsum(facts["num_keyframes"], dtype=np.int64) - facts["num_keyframes"]
        return FactTable(
            paths=(*(self.paths[row] for row in kept), *results),
            facts=facts,
            keyframe_pool=np.concatenate(pool),
            codings=tuple(codings),
            problems=problems,
        )


def _runs(firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Indices first, first + 1, ..., first + count - 1 of every run, one run after another."""
    before = np.cumsum(counts, dtype=np.int64) - counts
    return np.repeat(firsts - before, counts) + np.arange(counts.sum(dtype=np.int64))


def manifest_file(root: Path, *, cache_dir: Path) -> Path:
    """The cache file of all lists under one root: outside the root, which may be read-only."""
    root = Path(root).resolve()
    return Path(cache_dir) / f"{root.name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.npz"


def load_table(file: Path) -> FactTable:
    """What the file holds; an empty table if it is absent, damaged (the log says so) or of another format."""
    empty = FactTable(
        paths=(),
        facts=np.zeros(0, dtype=FACTS),
        keyframe_pool=np.zeros(0, dtype=np.int32),
        codings=(("", ""),),
        problems={},
    )
    if not file.exists():
        return empty
    try:
        with np.load(file, allow_pickle=False) as data:
            if int(data["format"]) != _FORMAT:
                return empty
            table = FactTable(
                paths=_from_bytes(data["paths"]),
                facts=data["facts"],
                keyframe_pool=data["keyframe_pool"],
                codings=tuple(tuple(pair.split(" ", 1)) for pair in _from_bytes(data["codings"])),
                problems=dict(zip(data["bad_rows"].tolist(), _from_bytes(data["reasons"]), strict=True)),
            )
        ends = table.facts["first_keyframe"] + table.facts["num_keyframes"]
        sound = len(table.paths) == len(table.facts) and table.facts.dtype == FACTS
        if not sound or (len(ends) and ends.max() > len(table.keyframe_pool)):
            raise ValueError("its parts contradict each other")
        return table
    except Exception as error:  # whatever is wrong with it, it can be made again
        log.warning("%s: unreadable (%s), so the videos are probed again", file, error)
        return empty


def save_table(file: Path, table: FactTable) -> None:
    """Writes the table whole or not at all. Raises InputError where the folder cannot be written."""
    with written_whole(file, field="cache_dir") as draft:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "wb") as stream:
            np.savez(
                stream,
                format=np.array(_FORMAT),
                paths=_to_bytes(table.paths),
                facts=table.facts,
                keyframe_pool=table.keyframe_pool,
                codings=_to_bytes([" ".join(pair) for pair in table.codings]),
                bad_rows=np.array(list(table.problems), dtype=np.int64),
                reasons=_to_bytes(list(table.problems.values())),
            )


def _to_bytes(texts: Sequence[str]) -> np.ndarray:
    """uint8: the texts, each closed by a NUL (which no path holds); undecodable file names survive."""
    joined = "".join(f"{text}\0" for text in texts)
    return np.frombuffer(joined.encode("utf-8", "surrogateescape"), dtype=np.uint8)


def _from_bytes(data: np.ndarray) -> tuple[str, ...]:
    return tuple(data.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1])
