"""What a preparation has done, as files in its folder: one of the whole, and one of each share that works on it.

`prepare.json` says what is there of the whole data set. Where several processes share the files out, each writes
`prepare-share-K-of-N.json` alone, and the one that ends last writes prepare.json and the lists.
"""

import contextlib
import dataclasses
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.files import written_whole
from pipelines.shares import Share
from pipelines.video.encoding import Settings

FORMAT = 3
"""Number of the files' form. Files of form 1 may lack frames of the originals."""
Files = dict[str, dict[str, Any]]
"""Source path -> its target, and the fields of `Transcoded`."""
WHOLE = "prepare.json"


@dataclass(kw_only=True)
class Record:
    """What one process has done."""

    file: Path
    settings: Settings
    files: Files = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)  # (source path, reason)
    is_finished: bool = False

    def save(self) -> None:
        """Writes the file, whole or not at all. Raises InputError where the folder or the disk does not take it."""
        content = {
            "format": FORMAT,
            "settings": dataclasses.asdict(self.settings),
            "files": self.files,
            **({} if self.file.name == WHOLE else {"failures": sorted(self.failures), "finished": self.is_finished}),
        }
        with written_whole(self.file, field="out") as draft:
            draft.write_text(json.dumps(content, indent=1), encoding="utf-8", errors="surrogateescape")


def record_file(out: Path, share: Share) -> Path:
    """The file of a share, or of the whole where there is one share."""
    return out / (WHOLE if share.number == 1 else f"prepare-share-{share.index + 1}-of-{share.number}.json")


def record_files(out: Path) -> list[Path]:
    """All files of this kind in a folder."""
    return sorted(path for path in (out / WHOLE, *out.glob("prepare-share-*-of-*.json")) if path.exists())


def read_record(file: Path, settings: Settings) -> Record:
    """What an earlier call wrote. Raises InputError where it cannot be read, and for other settings than `settings`."""
    out = file.parent
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        before, done, number = _settings_of(content), content["files"], content.get("format", 1)
        failures = [(str(path), str(reason)) for path, reason in content.get("failures", ())]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); accepted: what an earlier call wrote") from error
    if number != FORMAT:
        raise InputError(
            f"out: received {out}, made by another version, whose files may lack frames; accepted: a new folder"
        )
    now = dataclasses.asdict(settings)
    if before != now:
        changed = ", ".join(
            f"{name} {before.get(name)} -> {now[name]}" for name in now if before.get(name) != now[name]
        )
        raise InputError(f"out: {out} was made with other settings ({changed}); accepted: the same, or another folder")
    is_finished = bool(content.get("finished", False))
    return Record(file=file, settings=settings, files=done, failures=failures, is_finished=is_finished)


def _settings_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an earlier call, also of one that knew no forms."""
    settings = dict(content["settings"])
    if "stride_aligned" in settings:
        settings["form"] = "stride-aligned" if settings.pop("stride_aligned") else "gop"
    return settings


def united(records: Sequence[Record]) -> Files:
    """What any of them has done."""
    return {source: made for record in records for source, made in record.files.items()}


def all_finished(out: Path, *, number: int, settings: Settings) -> list[Record] | None:
    """The records of all shares of so many, where each has finished its part; else None."""
    files = [record_file(out, Share(index=index, number=number)) for index in range(number)]
    if not all(file.exists() for file in files):
        return None
    records = [read_record(file, settings) for file in files]
    return records if all(record.is_finished for record in records) else None


@contextlib.contextmanager
def one_at_a_time(out: Path) -> Iterator[None]:
    """Shares that end at the same moment go through the block one after another."""
    with (out / ".lists.lock").open("w") as file:
        with contextlib.suppress(OSError):  # a file system without locks: what is written is the same
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield
