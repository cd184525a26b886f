"""The file in which a manifest's facts outlive the process: one a root, numpy arrays only, nothing pickled.

Legend: R rows, one for each video ever probed under the root.
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

_FORMAT = 5
FACTS = np.dtype(
    [
        ("num_frames", "<i4"),
        ("fps", "<f8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("stored_width", "<i4"),
        ("stored_height", "<i4"),
        ("turns", "u1"),
        ("mirrored", "?"),
        ("interlaced", "?"),
        ("exact_seek", "?"),
        ("size_bytes", "<i8"),
        ("mtime_ns", "<i8"),
        ("coding", "<u2"),  # index into the table's (codec, pixel format) pairs
    ]
)
"""One row a video."""
SAME_FACTS = FACTS.names[: FACTS.names.index("size_bytes")] if FACTS.names else ()
"""The first columns: fields of `VideoFacts`, by their names."""


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
    codings: tuple[tuple[str, str], ...]  # (codec, pixel format); the first is that of no video
    problems: Mapping[int, str]  # row -> reason

    def rows_of(self, paths: tuple[str, ...]) -> np.ndarray:
        """Returns each path's row, (N,) int64: -1 where it was never probed."""
        if paths == self.paths:  # the usual case
            return np.arange(len(paths))
        rows = dict(zip(self.paths, range(len(self.paths)), strict=True))
        return np.array([rows.get(path, -1) for path in paths], dtype=np.int64)

    def with_results(self, results: Mapping[str, ProbeResult]) -> "FactTable":
        """Returns a table with these results in place of the old ones of the same paths."""
        kept = np.array([row for row, path in enumerate(self.paths) if path not in results], dtype=np.int64)
        old = self.facts[kept]
        codings = {coding: index for index, coding in enumerate(self.codings)}
        problems = {row: self.problems[was] for row, was in enumerate(kept.tolist()) if was in self.problems}
        rows = []
        for row, result in enumerate(results.values(), start=len(kept)):
            video = result.facts
            if video is None:
                problems[row] = result.reason
                rows.append((0, 0.0, 0, 0, 0, 0, 0, False, False, False, result.size_bytes, result.mtime_ns, 0))
                continue
            coding = codings.setdefault((video.codec, video.pixel_format), len(codings))
            rows.append((*(getattr(video, name) for name in SAME_FACTS), result.size_bytes, result.mtime_ns, coding))
        facts = np.concatenate([old, np.array(rows, dtype=FACTS)])
        return FactTable(
            paths=(*(self.paths[row] for row in kept), *results),
            facts=facts,
            codings=tuple(codings),
            problems=problems,
        )


def manifest_file(root: Path, *, cache_dir: Path) -> Path:
    """Returns the cache file of all lists under one root. It lies elsewhere: the root may be read-only."""
    root = Path(root).resolve()
    return Path(cache_dir) / f"{root.name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.npz"


def load_table(file: Path) -> FactTable:
    """Reads the table of a file; an empty table if it is absent, damaged (the log says so) or of another format."""
    empty = FactTable(
        paths=(),
        facts=np.zeros(0, dtype=FACTS),
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
                codings=tuple(_coding(pair) for pair in _from_bytes(data["codings"])),
                problems=dict(zip(data["bad_rows"].tolist(), _from_bytes(data["reasons"]), strict=True)),
            )
        num_rows = len(table.paths)
        sound = len(table.facts) == num_rows and table.facts.dtype == FACTS
        if not sound or not _are_indices(table.facts["coding"], len(table.codings)):
            raise ValueError("its parts contradict each other")
        if not _are_indices(np.array(list(table.problems), dtype=np.int64), num_rows):
            raise ValueError("its problems are of no video")
        return table
    except Exception as error:  # whatever is wrong with it, it can be made again
        log.warning("%s: unreadable (%s), so the videos are probed again", file, error)
        return empty


def _coding(pair: str) -> tuple[str, str]:
    codec, _, pixel_format = pair.partition(" ")
    return codec, pixel_format


def _are_indices(values: np.ndarray, length: int) -> bool:
    return not len(values) or (values.min() >= 0 and values.max() < length)


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
