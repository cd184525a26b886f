"""Encodes a data set anew so that its videos decode fast at random places.

The files are those of `transcode`; lists make them a data set of the family `folder`. The originals are only read.

In the new folder: videos/..., train.csv, val.csv, maybe unlabeled.csv, classes.txt; prepare.json with what was done,
so that an interrupted preparation goes on; failures.json with the videos that could not be used.
"""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipelines.datasets.annotations import Annotations, VideoList
from pipelines.datasets.csv_lists import csv_text, quoted
from pipelines.datasets.prepare_record import (
    WHOLE,
    Record,
    all_finished,
    one_at_a_time,
    read_record,
    record_file,
    record_files,
    united,
)
from pipelines.errors import InputError, VideoError
from pipelines.files import written_whole
from pipelines.progress import Progress, no_progress
from pipelines.shares import Share
from pipelines.video.container import video_errors
from pipelines.video.encoding import Settings
from pipelines.video.transcode import transcode

SAVE_EVERY_SECONDS = 10.0
"""Killed, a preparation loses at most the work of so long."""
LEAST_FREE_BYTES = 1 << 26
"""With less room a failure is the disk's, not the video's."""

NUM_EXAMPLES = 8
"""Files named in the report, for whoever wants to see what was gained."""

ALONE = Share()
_PARTS = ("train", "val", "unlabeled")
_Record = dict[str, Any]
"""What prepare.json holds of a file: its target, and the fields of `Transcoded`."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Outcome of a preparation.

    failures: (source path, reason). breaks_off: (source path, reason) of sources that end early and are kept as far as
    they decode. num_mended: files whose time stamps jump. num_deinterlaced: files with interlaced frames.
    concealed: (source path, how many) of sources with damaged frames whose gaps the decoder filled.
    num_overclaimed: files whose header claims more frames than there are. size_ratio: new bytes / old bytes. psnr_db:
    median over the files, of the luma of some frames. NaN where there is no file. empty_classes: those without a
    training video left, which training would refuse. examples: (old file, new file) of a few videos, at random.
    """

    form: str  # of the new files, see `pipelines.video.encoding.Form`
    is_whole: bool  # the lists are written; else other shares are still at work, and the figures are this one's
    num_files: int
    num_encoded: int  # by this call; the others were there
    num_frames: int  # of all files: every frame of the sources, once
    failures: tuple[tuple[str, str], ...]
    breaks_off: tuple[tuple[str, str], ...]
    concealed: tuple[tuple[str, int], ...]
    num_mended: int
    num_deinterlaced: int
    num_overclaimed: int
    size_ratio: float
    psnr_db: float
    psnr_db_lowest: float
    empty_classes: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class _Item:
    source: Path
    target: str  # relative to the new folder


def prepare(
    annotations: Annotations,
    out: Path,
    *,
    settings: Settings,
    num_workers: int | None = None,
    share: Share = ALONE,
    progress: Progress = no_progress,
) -> Report:
    """Encodes all videos of a data set into the folder `out`, and writes the lists that make it one.

    With a share of several, encodes every so many-th video alone; the share that ends last writes the lists of all.

    `num_workers` files at once (default: one a core). What an earlier call with the same settings finished is kept; a
    video that cannot be used is reported and left out of the lists. Training videos of unknown class join the
    unlabeled ones; validation videos of unknown class are left out.
    Raises InputError where `out` is in a source folder, holds other things, or was made with other settings.
    """
    out = Path(out).resolve()
    parts = {part: videos for part in _PARTS if (videos := getattr(annotations, part)) is not None}
    record = _open_out(out, roots=[videos.root for videos in parts.values()], settings=settings, share=share)
    items = _items(parts)
    own = share.of(list(dict.fromkeys(items.values())))
    record.files = {source: record.files[source] for item in own if (source := str(item.source)) in record.files}
    num_encoded = _encode_all(own, out, record, num_workers=num_workers, progress=progress)
    with one_at_a_time(out):
        shares = [record] if share.number == 1 else all_finished(out, number=share.number, settings=settings)
        done = united(shares or [record])
        failures = sorted(failure for part in shares or [record] for failure in part.failures)
        failed = {path for path, _ in failures}
        shown = items if shares else {key: item for key, item in items.items() if item in set(own)}
        good = {key: item for key, item in shown.items() if str(item.source) not in failed}
        files = list(dict.fromkeys(good.values()))
        empty_classes: tuple[str, ...] = ()
        if shares:
            empty_classes = _write_lists(out, annotations, parts, good)
            _write_failures(out, failures)
            Record(file=out / WHOLE, settings=settings, files=done).save()
    records = [done[str(item.source)] for item in files]
    psnr = [record["psnr_db"] for record in records] or [float("nan")]
    old_bytes = sum(record["source_bytes"] for record in records)
    return Report(
        form=settings.form,
        is_whole=shares is not None,
        num_files=len(records),
        num_encoded=num_encoded,
        num_frames=sum(record["num_frames"] for record in records),
        failures=tuple(failures),
        breaks_off=tuple(
            (str(item.source), record["breaks_off"])
            for item, record in zip(files, records, strict=True)
            if record["breaks_off"]
        ),
        concealed=tuple(
            (str(item.source), record["num_concealed"])
            for item, record in zip(files, records, strict=True)
            if record["num_concealed"]
        ),
        num_mended=sum(record["num_jumps"] > 0 for record in records),
        num_deinterlaced=sum(record["num_interlaced"] > 0 for record in records),
        num_overclaimed=sum(record["num_claimed"] > record["num_frames"] for record in records),
        size_ratio=sum(record["size_bytes"] for record in records) / old_bytes if old_bytes else float("nan"),
        psnr_db=float(np.median(psnr)),
        psnr_db_lowest=float(np.min(psnr)),
        empty_classes=empty_classes,
        examples=tuple(
            (str(files[index].source), str(out / files[index].target))
            for index in np.random.default_rng(0).permutation(len(files))[:NUM_EXAMPLES].tolist()
        ),
    )


def _open_out(out: Path, *, roots: list[Path], settings: Settings, share: Share) -> Record:
    """Makes the folder. Returns what earlier calls finished, as a record of this share's."""
    for root in {Path(root).resolve() for root in roots}:
        if out == root or root in out.parents:
            raise InputError(f"out: received {out}, in the source folder {root}; accepted: a folder elsewhere")
    found = record_files(out)
    if not found:
        try:
            out.mkdir(parents=True, exist_ok=True)
            is_empty = not any(not _is_of_others(path) for path in out.iterdir())
        except OSError as error:
            raise InputError(f"out: received {out} ({error.strerror}); accepted: a folder to write") from error
        if not is_empty and not record_files(out):  # another share may have begun meanwhile
            raise InputError(f"out: received {out}, which holds other things; accepted: a new or empty folder")
    done = united([read_record(file, settings) for file in found])
    record = Record(file=record_file(out, share), settings=settings, files=done)
    record.save()
    return record


def _is_of_others(path: Path) -> bool:
    """Whether a file of a folder without a record is a share's that begins at the same time."""
    return path.name.startswith(".") and path.name.endswith((".part", ".lock"))


def _items(parts: Mapping[str, VideoList]) -> dict[tuple[str, int], _Item]:
    """(part, index) -> what to make of the video. The same file in two parts is made once."""
    shared_root = len({Path(videos.root).resolve() for videos in parts.values()}) == 1
    items: dict[tuple[str, int], _Item] = {}
    made: dict[Path, _Item] = {}
    targets: set[str] = set()
    for part, videos in parts.items():
        for index, (path, label) in enumerate(zip(videos.paths, videos.labels.tolist(), strict=True)):
            if part == "val" and label < 0:
                continue
            source = Path(os.path.abspath(videos.root / path))
            if source not in made:
                inner = PurePosixPath(*(name for name in PurePosixPath(path).parts if name not in ("..", "/")))
                base = PurePosixPath("videos") / inner if shared_root else PurePosixPath("videos", part) / inner
                target = str(base.with_suffix(".mp4"))
                while target in targets:  # a.avi and a.mp4
                    base = base.with_name(f"{base.name}.mp4")
                    target = str(base)
                targets.add(target)
                made[source] = _Item(source=source, target=target)
            items[part, index] = made[source]
    return items


def _encode_all(items: list[_Item], out: Path, record: Record, *, num_workers: int | None, progress: Progress) -> int:
    """Makes what is missing and notes it in the record; how many. Threads: nearly all is C without a lock."""
    done, failures, is_alone = record.files, record.failures, record.file.name == WHOLE
    _remove_drafts(items, out, of_all=is_alone)
    waiting = [item for item in items if not _is_done(item, out, done.get(str(item.source)))]
    if is_alone:
        _write_failures(out, failures)
    saved_at, num_finished = time.monotonic(), len(items) - len(waiting)
    is_told, free_at = True, 0.0
    num_workers = num_workers or len(os.sched_getaffinity(0))
    try:
        for item, outcome in _run(waiting, out, settings=record.settings, num_workers=num_workers):
            num_finished += 1
            if isinstance(outcome, VideoError):
                failures.append((str(item.source), str(outcome)))
                done.pop(str(item.source), None)
                is_told = False
            else:
                done[str(item.source)] = outcome
            progress(num_finished, len(items), "preparing videos")
            if is_alone and not is_told and time.monotonic() >= free_at:
                is_told, free_at = True, _write_failures(out, failures)
            if time.monotonic() - saved_at > SAVE_EVERY_SECONDS:
                record.save()
                saved_at = time.monotonic()
        record.is_finished = True
    finally:  # an interrupt, too, keeps what was done
        record.save()
        if is_alone:
            _write_failures(out, failures)
    return len(waiting) - len(failures)


def _remove_drafts(items: Sequence[_Item], out: Path, *, of_all: bool) -> None:
    """Removes what a killed call left beside these items; without `of_all`, of them alone: others have drafts, too."""
    own: dict[Path, set[str]] = {}
    for item in items:
        own.setdefault((out / item.target).parent, set()).add(Path(item.target).name)
    for folder, names in own.items():
        for draft in folder.glob(".*.part"):
            if of_all or draft.name[1:].rsplit(".", 2)[0] in names:
                draft.unlink(missing_ok=True)


def _run(
    items: list[_Item], out: Path, *, settings: Settings, num_workers: int
) -> Iterator[tuple[_Item, _Record | VideoError]]:
    """The outcomes as they come; an interrupt waits for the files in work alone."""
    left = iter(items)
    running: dict[Future[_Record | VideoError], _Item] = {}
    pool = ThreadPoolExecutor(num_workers)
    try:
        while True:
            while len(running) < 2 * num_workers and (item := next(left, None)) is not None:
                running[pool.submit(_make, item, out, settings)] = item
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _make(item: _Item, out: Path, settings: Settings) -> _Record | VideoError:
    """Encodes one file. A file of the final name is whole."""
    target = out / item.target
    try:
        with video_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as draft:
                made = transcode(item.source, draft, settings=settings)
    except VideoError as error:
        if shutil.disk_usage(out).free < LEAST_FREE_BYTES:
            raise InputError(f"out: {out} is on a full disk; accepted: more room, then the same command") from error
        return error
    return {"target": item.target, **dataclasses.asdict(made)}


def _is_done(item: _Item, out: Path, record: _Record | None) -> bool:
    """Tells if the source is the one that was encoded and its result exists."""
    if record is None or record["target"] != item.target:
        return False
    try:
        source, target = item.source.stat(), (out / item.target).stat()
    except OSError:
        return False
    same = (source.st_size, source.st_mtime_ns) == (record["source_bytes"], record["source_mtime_ns"])
    return same and target.st_size == record["size_bytes"]


def _write_lists(
    out: Path, annotations: Annotations, parts: Mapping[str, VideoList], good: Mapping[tuple[str, int], _Item]
) -> tuple[str, ...]:
    """The csv lists and classes.txt; the classes left without a training video."""
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "val": []}
    if "unlabeled" in parts:
        rows["unlabeled"] = []
    for (part, index), item in good.items():
        label = int(parts[part].labels[index])
        if part == "unlabeled" or label < 0:
            rows.setdefault("unlabeled", []).append((item.target,))
        else:
            rows[part].append((item.target, annotations.classes[label]))
    for part, lines in rows.items():
        _write(out / f"{part}.csv", csv_text(dict.fromkeys(lines)))
    _write(out / "classes.txt", "".join(f"{_class_line(name)}\n" for name in annotations.classes))
    present = {name for _, name in rows["train"]}
    return tuple(name for name in annotations.classes if name not in present)


def _class_line(name: str) -> str:
    """A class as `read_classes` reads it back: in quotes only where it must be."""
    return quoted(name) if name != name.strip() or "\n" in name or name.startswith('"') else name


def _write_failures(out: Path, failures: Sequence[tuple[str, str]]) -> float:
    """Writes failures.json. Returns when, by `time.monotonic`, it may be written again: it takes 2 % of the time."""
    begin = time.monotonic()
    rows = [{"path": path, "reason": reason} for path, reason in sorted(failures)]
    _write(out / "failures.json", json.dumps(rows, indent=1))
    end = time.monotonic()
    return end + 50 * (end - begin)


def _write(file: Path, text: str) -> None:
    """Writes all of it or nothing. Raises InputError where the folder or the disk does not take it."""
    with written_whole(file, field="out") as draft:
        draft.write_text(text, encoding="utf-8", errors="surrogateescape")
