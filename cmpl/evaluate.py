"""Ten clips x three crops (Sec. 4.1): the mean of the softmax over all views of a video is its prediction.

Legend: V videos of a batch, N clips, M crops, T frames a clip, S side, K classes.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cmpl.methods.views import normalized
from cmpl.training.ranks import Ranks, gather
from cmpl.training.runtime import Runtime
from pipelines.errors import InputError
from pipelines.progress import Progress, no_progress

MAX_PIXELS = 1 << 24
"""Pixels of one forward pass, all frames and views together; bounds memory, changes no result."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Class probabilities of every evaluated video, of one network."""

    videos: np.ndarray  # (N,) int64, ascending indices into the pool
    labels: np.ndarray  # (N,) int64
    probabilities: np.ndarray  # (N, K) float32


class ClipsOfVideos(Protocol):
    """What is predicted: pipelines.loading.loader.EvaluationLoader is one.

    Gives (pool indices, classes, for each network's shape its clips (V, views, 3, T, S, S) uint8) of some videos.
    """

    @property
    def num_videos(self) -> int: ...
    @property
    def problems(self) -> dict[str, str]: ...
    def __iter__(self) -> Iterator[tuple[list[int], list[int], tuple[Tensor, ...]]]: ...


def no_note(problems: Mapping[str, str]) -> None:
    """Tells nobody."""


def predict(
    networks: dict[str, nn.Module],
    loader: ClipsOfVideos,
    *,
    runtime: Runtime,
    ranks: Ranks,
    clip_stride: int = 1,
    progress: Progress = no_progress,
    note: Callable[[Mapping[str, str]], None] = no_note,
) -> tuple[dict[str, Predictions], dict[str, str]]:
    """Predictions of each network, in the order of the data set, on every rank; and what could not be decoded.

    `networks` are in the order of the loader's shapes. They are left in the mode they came in. clip_stride: see
    `resampled`. `note` is told after each batch what this rank could not decode.
    """
    was_training = {name: network.training for name, network in networks.items()}
    rows: list[tuple[int, int, dict[str, np.ndarray]]] = []
    for network in networks.values():
        network.eval()
    with torch.inference_mode(), runtime.autocast(), as_written(networks.values()):
        for videos, labels, clips in loader:
            shown = [resampled(views, clip_stride) for views in clips]
            sums = {name: view_probabilities(network, shown[k]) for k, (name, network) in enumerate(networks.items())}
            host = {name: value.float().cpu().numpy() for name, value in sums.items()}
            for i, video in enumerate(videos):
                rows.append((video, labels[i], {name: value[i] for name, value in host.items()}))
            note(loader.problems)
            progress(min(len(rows) * ranks.num_ranks, loader.num_videos), loader.num_videos, "evaluating")
    for name, network in networks.items():
        network.train(was_training[name])
    return _collected(rows, list(networks), loader.problems)


def resampled(views: Tensor, clip_stride: int) -> Tensor:
    """Every `clip_stride`-th frame of each clip, shown in place of those that follow it: still T frames (Fig. 5).

    views (V, views, 3, T, S, S). Of 0 1 2 3 4 5 6 7, stride 4 shows 0 0 0 0 4 4 4 4.
    """
    if clip_stride == 1:
        return views
    index = torch.arange(views.shape[3], device=views.device)
    return views.index_select(3, index - index % clip_stride)


def as_written(networks: Iterable[nn.Module]) -> contextlib.AbstractContextManager[object]:
    """Within it compiled networks run uncompiled: shapes are others than in training, and one pass over a few videos
    does not repay minutes of compiling, nor the memory of captured graphs."""
    if any(getattr(network, "_compiled_call_impl", None) is not None for network in networks):
        return torch.compiler.set_stance("force_eager")
    return contextlib.nullcontext()


def view_probabilities(network: nn.Module, views: Tensor) -> Tensor:
    """(V, views, 3, T, S, S) uint8 -> (V, K): the mean over a video's views of the softmax."""
    (probabilities,) = mean_over_views(views, lambda clips: (torch.softmax(network(clips).float(), dim=1),))
    return probabilities


def mean_over_views(views: Tensor, answers: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """(V, views, 3, T, S, S) uint8 -> for each answer (V, ...): its mean over a video's views.

    `answers` takes normalized clips (B, 3, T, S, S), as many at once as MAX_PIXELS allow, and gives tensors (B, ...).
    """
    num_videos, num_views = views.shape[:2]
    clips = views.flatten(0, 1)
    at_once = max(1, MAX_PIXELS // clips[0].numel())
    parts = [answers(normalized(part)) for part in clips.split(at_once)]
    return tuple(
        torch.cat(answer).float().view(num_videos, num_views, -1).mean(dim=1) for answer in zip(*parts, strict=True)
    )


def accuracy(predictions: Predictions, classes: tuple[str, ...]) -> dict[str, Any]:
    """{"top1", "top5", "per_class": {class: top-1}} as shares of 1; top-5 is top-K where there are fewer classes."""
    ranked = np.argsort(-predictions.probabilities, axis=1, kind="stable")
    hits = ranked == predictions.labels[:, None]
    per_class = {
        name: float(hits[predictions.labels == k, 0].mean())
        for k, name in enumerate(classes)
        if (predictions.labels == k).any()
    }
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits[:, :5].any(axis=1).mean()), "per_class": per_class}


def confidence(predictions: Predictions, *, threshold: float) -> dict[str, Any]:
    """Counts the confident predictions, those whose highest probability is `threshold` or more.

    {"num_confident", "confident_share" of all videos, "confident_precision": share of right ones among the confident}.
    Without a confident one there is no precision.
    """
    confident = predictions.probabilities.max(axis=1) >= threshold
    number = int(confident.sum())
    found: dict[str, Any] = {"num_confident": number, "confident_share": float(confident.mean())}
    if number:
        right = predictions.probabilities.argmax(axis=1) == predictions.labels
        found["confident_precision"] = float(right[confident].mean())
    return found


def _collected(rows: list, names: list[str], problems: dict[str, str]) -> tuple[dict[str, Predictions], dict[str, str]]:
    """All ranks' rows by video, each once."""
    all_rows = {row[0]: row for part in gather(rows) for row in part}
    all_problems = {path: reason for part in gather(problems) for path, reason in part.items()}
    ordered = [all_rows[video] for video in sorted(all_rows)]
    videos, labels = (np.array([row[column] for row in ordered], dtype=np.int64) for column in (0, 1))
    predictions = {
        name: Predictions(
            videos=videos, labels=labels, probabilities=np.stack([values[name] for *_, values in ordered])
        )
        for name in names
    }
    for name, predicted in predictions.items():
        if not np.isfinite(predicted.probabilities).all():
            raise InputError(
                f"{name}: its answers are not finite, as training diverged; accepted: weights from before that"
            )
    return predictions, all_problems
