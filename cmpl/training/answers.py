"""Answers of the networks to the unlabeled videos: those of some epochs of training, kept in the run's folder (Fig. 6).

An answer is a class and its probability, from the weak view that pseudo-labels are made of. The truth is not among
them: who draws a figure joins it later, by the run's list of videos.
Legend: B_u unlabeled videos of a forward pass, N answers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from cmpl.training.ranks import Ranks, first_rank_does, gather
from cmpl.training.run_directory import unwritable
from pipelines.files import written_whole

FOLDER = "pseudo_labels"
_NAME = re.compile(r"steps-(\d{8,})-(\d{8,})\.part-(\d{8,})\.safetensors")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Steps of training, `first_step` (from 1) and `last_step` included."""

    first_step: int
    last_step: int


def spans_of(first_step: int, last_step: int, *, steps_an_epoch: int, number: int) -> tuple[Span, ...]:
    """At most `number` spans of an epoch each, evenly spread over the steps after `first_step`; the last ends with
    `last_step`. Where there are fewer epochs, so many; of less than one epoch, a single span."""
    length = last_step - first_step
    if number == 0 or length <= 0:
        return ()
    count = min(number, max(1, length // steps_an_epoch))
    ends = [first_step + round(length * (k + 1) / count) for k in range(count)]
    starts = [max(before, end - steps_an_epoch) for before, end in zip([first_step, *ends], ends, strict=False)]
    return tuple(Span(first_step=start + 1, last_step=end) for start, end in zip(starts, ends, strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What each network named N videos in one span of training, each video once."""

    span: Span
    videos: np.ndarray  # (N,) int64, ascending indices into the unlabeled pool
    classes: dict[str, np.ndarray]  # network -> (N,) int64
    confidences: dict[str, np.ndarray]  # network -> (N,) float32


class AnswerLog:
    """Collects answers within the spans and writes them. Nothing waits for the device before `settle` or `write`.

    Files of later steps than `first_step`, written before a kill, are dropped: they are written again.
    """

    def __init__(self, run: Path, *, spans: Sequence[Span], first_step: int, ranks: Ranks) -> None:
        self._folder, self._spans, self._ranks = run / FOLDER, spans, ranks
        self._passes: list[tuple[tuple[int, ...], dict[str, tuple[Tensor, Tensor]]]] = []  # still on the device
        self._settled: list[dict[str, np.ndarray]] = []

        def drop_later() -> None:
            for path, _, step in _files(self._folder):
                if step > first_step:
                    path.unlink(missing_ok=True)

        first_rank_does(ranks, drop_later)

    def span_at(self, step: int) -> Span | None:
        """The span that a step belongs to."""
        return next((span for span in self._spans if span.first_step <= step <= span.last_step), None)

    def add(self, step: int, videos: tuple[int, ...], answers: dict[str, Tensor]) -> None:
        """Takes the answers of one forward pass of a step: network -> probabilities (B_u, K)."""
        if answers and videos and self.span_at(step) is not None:
            best = {name: p.max(dim=1) for name, p in answers.items()}
            self._passes.append((videos, {name: (p.indices, p.values) for name, p in best.items()}))

    def settle(self) -> None:
        """Fetches what was collected from the device, in two copies a network."""
        if not self._passes:
            return
        columns = {"videos": np.concatenate([np.array(videos, dtype=np.int32) for videos, _ in self._passes])}
        for network in self._passes[0][1]:
            classes = torch.cat([answers[network][0] for _, answers in self._passes])
            confidences = torch.cat([answers[network][1] for _, answers in self._passes])
            columns[f"{network}_class"] = classes.cpu().numpy().astype(np.int32)
            columns[f"{network}_confidence"] = confidences.cpu().numpy().astype(np.float32)
        self._settled.append(columns)
        self._passes = []

    def ends_at(self, step: int) -> bool:
        """Whether a span ends with a step: then `write` is due."""
        return any(span.last_step == step for span in self._spans)

    def write(self, step: int) -> None:
        """Writes what all ranks collected up to a step. All ranks call it. Raises InputError where it cannot be."""
        span = self.span_at(step)
        if span is None:
            return
        self.settle()
        parts = [part for of_rank in gather(self._settled) for part in of_rank]
        self._settled = []
        if not parts:
            return
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        path = self._folder / f"steps-{span.first_step:08d}-{span.last_step:08d}.part-{step:08d}.safetensors"

        def save() -> None:
            try:
                self._folder.mkdir(exist_ok=True)
                with written_whole(path) as draft:
                    save_file(columns, draft)
            except (OSError, SafetensorError) as error:
                raise unwritable(path, error if isinstance(error, OSError) else OSError(str(error))) from error

        first_rank_does(self._ranks, save)


def read_answers(run: Path) -> list[Answers]:
    """The answers in a run's folder, a span after the other. Of a video that came twice in a span the later counts.
    Files that cannot be read are passed over: they serve figures alone."""
    parts: dict[tuple[int, int], list[dict[str, np.ndarray]]] = {}
    for path, span, _ in _files(run / FOLDER):
        try:
            columns = load_file(path)
        except (OSError, SafetensorError):
            continue
        if "videos" in columns:
            parts.setdefault((span.first_step, span.last_step), []).append(columns)
    return [_joined(Span(first_step=first, last_step=last), found) for (first, last), found in sorted(parts.items())]


def _joined(span: Span, parts: list[dict[str, np.ndarray]]) -> Answers:
    names = [name for name in parts[0] if all(name in part for part in parts)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in names}
    videos, places = np.unique(columns["videos"][::-1], return_index=True)
    last = len(columns["videos"]) - 1 - places

    def of_networks(kind: str, dtype: type) -> dict[str, np.ndarray]:
        ending = f"_{kind}"
        return {n.removesuffix(ending): columns[n][last].astype(dtype) for n in names if n.endswith(ending)}

    return Answers(
        span=span,
        videos=videos.astype(np.int64),
        classes=of_networks("class", np.int64),
        confidences=of_networks("confidence", np.float32),
    )


def _files(folder: Path) -> list[tuple[Path, Span, int]]:
    """(file, its span, the step up to which it goes), in the order of steps."""
    found = []
    for path in folder.glob("steps-*") if folder.is_dir() else ():
        if match := _NAME.fullmatch(path.name):
            first, last, step = map(int, match.groups())
            found.append((path, Span(first_step=first, last_step=last), step))
    return sorted(found, key=lambda item: item[2])
