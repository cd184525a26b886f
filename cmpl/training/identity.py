"""What a run learns from and what it shows its networks, as values to compare when it goes on.

A listing is every video of a run: part -> rows (path relative to its list's folder, bytes, label), in the order that
the plans count in. Its digests stand in every checkpoint; the listing itself lies once in the run's folder, to name
what differs.
"""

import dataclasses
import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cmpl.methods.views import PIXEL_MEAN, PIXEL_STD
from pipelines.files import written_whole
from pipelines.plan.geometry import Geometry

PARTS = ("labeled", "unlabeled", "validation")
NORMALIZATION = {"mean": PIXEL_MEAN, "deviation": PIXEL_STD}
"""In uint8's range, 0 to 255; every network sees (clip - mean) / deviation."""


class Row(NamedTuple):
    """One video of a listing."""

    path: str
    num_bytes: int
    label: int  # -1 where the class is unknown


Listing = dict[str, list[Row]]


@dataclass(frozen=True, kw_only=True)
class Videos:
    """One part of a listing: how many videos, and the SHA-256 of its rows."""

    number: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What must stay the same for a run to be the same run. `videos` has an entry for each of PARTS."""

    classes: tuple[str, ...]  # in the order of the networks' outputs
    geometry: dict[str, Any] = field(default_factory=dict)
    normalization: dict[str, float] = field(default_factory=lambda: dict(NORMALIZATION))
    videos: dict[str, Videos] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, which are also the keys of a checkpoint's state."""
        return {
            "classes": list(self.classes),
            "geometry": self.geometry,
            "normalization": self.normalization,
            "videos": {part: dataclasses.asdict(videos) for part, videos in self.videos.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Identity":
        """What `to_json` gave. An older version's checkpoint may lack all but the classes.

        Raises KeyError, TypeError or ValueError for other values.
        """
        return cls(
            classes=tuple(map(str, values["classes"])),
            geometry=dict(values.get("geometry", {})),
            normalization=dict(values.get("normalization", NORMALIZATION)),
            videos={part: Videos(**videos) for part, videos in values.get("videos", {}).items()},
        )


def identity_of(classes: Sequence[str], geometry: Geometry, listing: Listing) -> Identity:
    """The identity of a run that learns from a listing."""
    return Identity(
        classes=tuple(classes),
        geometry=json.loads(json.dumps(dataclasses.asdict(geometry))),  # as it is read back
        videos={part: Videos(number=len(rows), sha256=_digest(rows)) for part, rows in listing.items()},
    )


def _digest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def write_listing(file: Path, listing: Listing) -> None:
    """Writes a listing, whole or not at all: gzip, a JSON array [part, path, bytes, label] a line."""
    with written_whole(file) as draft, gzip.open(draft, "wt", encoding="ascii", compresslevel=6) as stream:
        for part, rows in listing.items():
            for row in rows:
                stream.write(json.dumps([part, *row]) + "\n")


def read_listing(file: Path) -> Listing | None:
    """The listing that was written, or None where it cannot be read: it serves messages alone."""
    listing: Listing = {part: [] for part in PARTS}
    try:
        with gzip.open(file, "rt", encoding="ascii") as stream:
            for line in stream:
                part, *row = json.loads(line)
                listing[part].append(Row(*row))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    return listing


def differences(
    before: Identity, after: Identity, *, parts: Sequence[str] = PARTS, listings: tuple[Listing | None, Listing | None]
) -> list[str]:
    """A line for each thing that differs. `listings` (before, after) help to name the videos, where both are known."""
    lines = class_differences(before.classes, after.classes)
    for name in ("geometry", "normalization"):
        old, new = getattr(before, name), getattr(after, name)
        lines += [
            f"{name}.{key}: {old.get(key)} there, {new.get(key)} now"
            for key in (old if old else ())
            if old.get(key) != new.get(key)
        ]
    for part in parts:
        if part not in before.videos or before.videos[part] == after.videos[part]:
            continue
        old_rows, new_rows = (None if rows is None else rows.get(part) for rows in listings)
        numbers = f"{before.videos[part].number} there, {after.videos[part].number} now"
        if old_rows is None or new_rows is None:
            lines.append(f"{part} videos: {numbers}, not the same")
        else:
            lines += [f"{part} videos: {numbers}; {text}" for text in _row_differences(old_rows, new_rows)]
    return lines


def class_differences(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """One line where the class names or their order differ, else none."""
    if tuple(before) == tuple(after):
        return []
    gone, new = ([name for name in a if name not in b] for a, b in ((before, after), (after, before)))
    if not gone and not new:
        index = next(k for k, (old, now) in enumerate(zip(before, after, strict=True)) if old != now)
        return [f"classes: another order: class {index} is {before[index]!r} there, {after[index]!r} now"]
    texts = [f"{word} {_some(names)}" for word, names in (("gone", gone), ("new", new)) if names]
    return [f"classes: {len(before)} there, {len(after)} now; {', '.join(texts)}"]


def _row_differences(before: Sequence[Row], after: Sequence[Row]) -> Iterator[str]:
    old, new = {row.path: row for row in before}, {row.path: row for row in after}
    both = [path for path in old if path in new]
    groups = {
        "gone": [path for path in old if path not in new],
        "new": [path for path in new if path not in old],
        "of another size": [path for path in both if old[path].num_bytes != new[path].num_bytes],
        "of another class": [path for path in both if old[path].label != new[path].label],
    }
    if any(groups.values()):
        yield ", ".join(f"{word}: {_some(paths)}" for word, paths in groups.items() if paths)
    else:
        yield "in another order"


def _some(names: Sequence[str]) -> str:
    return repr(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
