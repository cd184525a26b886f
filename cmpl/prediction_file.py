"""Predictions as a csv file, and the draft from which a killed prediction goes on.

Its first two columns, `path` and `class`, make it a list of videos: corrected by a person it is a `train.csv`.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np
from safetensors.numpy import save_file

from cmpl.models.backbone import Backbone
from cmpl.prediction import Prediction, fields, titles, uncertain_first
from cmpl.run import Run
from pipelines.datasets.csv_lists import csv_text
from pipelines.errors import InputError
from pipelines.files import written_whole


def stamp_of(run: Run, *, clips: int, crops: int, with_features: bool) -> dict[str, Any]:
    """What predictions must share to stand in one file; `features` is D, or 0 without them."""
    digest = hashlib.sha256()
    for network in run.networks.values():
        for value in network.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return {
        "weights": digest.hexdigest(),
        "classes": list(run.classes),
        "clips": clips,
        "crops": crops,
        "features": cast(Backbone, run.networks["primary"]).num_features if with_features else 0,
    }


class PredictionFile:
    """Writes predictions row by row into a draft beside `out`, and `out` whole at the end.

    A context manager. Opened anew after a kill, `rows` holds what the draft has of the same predictions; a torn last
    line is dropped. The draft is `out` + ".part": a line of JSON that says what the rows share, then one a row; beside
    it, where features are asked for, their bare float32 numbers.
    """

    def __init__(self, out: Path, *, names: Sequence[str], stamp: dict[str, Any], features: Path | None = None) -> None:
        """Raises InputError where `out` or `features` is there already: a person may have corrected it."""
        for option, path in (("--out", out), ("--features", features)):
            if path is not None and path.exists():
                raise InputError(f"{option}: received {path}, which is there already; accepted: a name that is free")
        self.rows: list[list[str]] = []
        self._out, self._features_out = out, features
        self._names, self._stamp = names, stamp
        self._classes: list[str] = stamp["classes"]
        self.draft = out.with_name(out.name + ".part")
        self.features_draft = out.with_name(out.name + ".features.part")
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            try:
                self._files = [stack.enter_context(open(path, "a+b")) for path in self._drafts()]
                fcntl.flock(self._files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._take_up()
            except BlockingIOError as error:
                raise InputError(f"{self.draft}: another process writes it; accepted: one at a time") from error
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise InputError(f"--out: cannot write {self._out} ({reason}); accepted: a path that can") from error
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the draft as it is."""
        for file in self._files:
            file.close()

    def _take_up(self) -> None:
        """Reads the draft's whole lines, and cuts off what follows them."""
        draft = self._files[0]
        draft.seek(0)
        lines = draft.read().split(b"\n")[:-1]
        try:
            stamp, *self.rows = map(json.loads, lines or [json.dumps(self._stamp).encode()])
        except ValueError as error:
            raise InputError(f"{self.draft}: not what was written ({error}); accepted: no such file") from error
        if stamp != self._stamp:
            raise InputError(
                f"{self.draft}: holds predictions of other weights or views; accepted: the command that began it, or "
                "no such file"
            )
        if [row[0] for row in self.rows] != list(self._names[: len(self.rows)]):
            raise InputError(
                f"{self.draft}: holds predictions of other videos; accepted: the same videos in the same order, or no "
                "such file"
            )
        for file in self._files[1:]:
            del self.rows[file.seek(0, os.SEEK_END) // self._row_bytes :]
            file.truncate(len(self.rows) * self._row_bytes)
        draft.truncate(sum(len(line) + 1 for line in lines[: 1 + len(self.rows)]))
        if not lines:
            self._write_line(self._stamp)

    @property
    def _row_bytes(self) -> int:
        return 4 * int(self._stamp["features"])

    def _write_line(self, value: object) -> None:
        self._files[0].write(json.dumps(value).encode() + b"\n")
        self._files[0].flush()

    def add(self, prediction: Prediction) -> None:
        """Writes one row behind the others; a row is never there without its features."""
        for file in self._files[1:]:
            row = np.full(self._row_bytes // 4, np.nan, dtype=np.float32)
            file.write((row if prediction.features is None else prediction.features.astype(np.float32)).tobytes())
            file.flush()
        row_fields = fields(prediction, self._classes)
        self._write_line(row_fields)
        self.rows.append(row_fields)

    def finish(self, *, uncertain_ones_first: bool = False) -> None:
        """Writes `out`, and the features in the same order, each whole; then removes the draft.

        With `uncertain_ones_first` the rows come as `uncertain_first` has them, those without an answer last.
        """
        columns = titles(len(self._classes))
        order = list(range(len(self.rows)))
        if uncertain_ones_first:
            answered = [k for k in order if self.rows[k][1]]
            of_class, entropy = ([self.rows[k][columns.index(name)] for k in answered] for name in ("class", "entropy"))
            numbers = [self._classes.index(name) for name in of_class]
            first = [answered[k] for k in uncertain_first(numbers, [float(value) for value in entropy])]
            order = first + [k for k in order if not self.rows[k][1]]
        self.rows = [self.rows[k] for k in order]
        if self._features_out is not None:
            rows = np.fromfile(self.features_draft, dtype=np.float32).reshape(-1, self._row_bytes // 4)
            with written_whole(self._features_out, field="--features") as draft:
                save_file({"features": np.ascontiguousarray(rows[order])}, draft)
        with (
            written_whole(self._out, field="--out") as draft,
            open(draft, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
        ):
            stream.write(csv_text([columns, *self.rows]))
        self.close()
        for path in self._drafts():
            path.unlink()

    def _drafts(self) -> list[Path]:
        return [self.draft] if self._features_out is None else [self.draft, self.features_draft]
