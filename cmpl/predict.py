"""Answers of a finished run: the classes of any videos, out of its checkpoint alone.

Legend: N videos, K classes, D features, V videos of a batch.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from cmpl import build
from cmpl.evaluate import mean_over_views, view_probabilities
from cmpl.models.backbone import Backbone
from cmpl.prediction import Prediction
from cmpl.run import Run
from cmpl.selection import Videos, videos_at
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import Runtime, settle
from pipelines.errors import InputError, LoaderError
from pipelines.loading.loader import EvaluationBatch
from pipelines.progress import Progress, no_progress

TRIED_ALONE = 32
"""Videos that are tried one by one where so many in a row do not decode that the loader gives up."""


def predict_videos(
    run: Run,
    videos: Videos | Sequence[str | Path],
    *,
    clips: int | None = None,
    crops: int | None = None,
    with_features: bool = False,
    progress: Progress = no_progress,
) -> Generator[Prediction, None, None]:
    """Yields the prediction of each video, in their order, as soon as it is there.

    A file that cannot be used has a prediction with a reason. Computes on the device that `run` was loaded to; on a
    video of validation the probabilities are those of `cmpl eval`. clips, crops: of each video; None: the run's.
    Raises InputError where there is no video, and where the answers are not finite.
    """
    videos = videos if isinstance(videos, Videos) else videos_at(videos, progress=progress)
    views = run.config.evaluation
    answering = _Answering(
        run=run,
        runtime=runtime_of(run),
        clips=clips or views.clips,
        crops=crops or views.crops,
        with_features=with_features,
    )
    answers = answering.each(videos.usable())
    for number, (name, reason) in enumerate(zip(videos.names, videos.reasons(), strict=True), 1):
        yield next(answers) if reason is None else Prediction(path=name, probabilities={}, reason=reason)
        progress(number, len(videos), "predicting")


def runtime_of(run: Run) -> Runtime:
    """Settles how the run predicts on the device that it was loaded to."""
    device = next(run.networks["primary"].parameters()).device.type
    config = replace(run.config.runtime, device=device)
    return settle(config if device == "cuda" else replace(config, backend="auto"))


@dataclass(frozen=True, kw_only=True)
class _Answering:
    """What stays the same over all videos."""

    run: Run
    runtime: Runtime
    clips: int
    crops: int
    with_features: bool

    def each(self, videos: Videos) -> Iterator[Prediction]:
        """Yields one prediction a video, in their order; all are usable as far as probing can tell."""
        done = 0
        while done < len(videos):
            rest, first = videos.part(done), done
            try:
                for prediction in self._by_one_loader(rest, runtime=self.runtime):
                    done += 1
                    yield prediction
            except LoaderError as error:  # so many in a row do not decode that it gives up
                if not _names_a_video(error, rest):
                    raise
                for one in range(done, min(done + TRIED_ALONE, len(videos))):
                    done += 1
                    yield self._alone(videos.part(one, one + 1))
            assert done > first

    def _by_one_loader(self, videos: Videos, *, runtime: Runtime) -> Iterator[Prediction]:
        pool, done = videos.pool(), 0

        def broken(number: int) -> Prediction:
            reason = loader.problems.get(pool.paths[number], "cannot be decoded")
            return Prediction(path=videos.names[number], probabilities={}, reason=reason)

        loader = build.evaluation_loader_of(
            self.run.config, pool, runtime=runtime, ranks=Ranks(), clips=self.clips, crops=self.crops
        )
        with loader:
            for batch in loader:
                for number, prediction in zip(batch.videos, self._answers(batch, videos), strict=True):
                    yield from map(broken, range(done, number))
                    done = number + 1
                    yield replace(prediction, damage=loader.problems.get(pool.paths[number], ""))
            yield from map(broken, range(done, len(videos)))

    def _alone(self, video: Videos) -> Prediction:
        """In a worker, where there are any: a file at which FFmpeg crashes does not end this process."""
        alone = replace(self.runtime, num_workers=min(1, self.runtime.num_workers))
        try:
            return next(self._by_one_loader(video, runtime=alone))
        except LoaderError as error:
            if not _names_a_video(error, video):
                raise
            reason = str(error).rpartition(f"{video.pool().paths[0]}: ")[2]
            return Prediction(path=video.names[0], probabilities={}, reason=reason)

    def _answers(self, batch: EvaluationBatch, videos: Videos) -> list[Prediction]:
        """Returns the predictions of the V videos of a batch."""
        probabilities: dict[str, np.ndarray] = {}
        features = None
        with torch.inference_mode(), self.runtime.autocast():
            for (name, network), clips in zip(self.run.networks.items(), batch.clips, strict=False):
                if name == "primary" and self.with_features:
                    answers, features = view_answers(cast(Backbone, network), clips)
                else:
                    answers = view_probabilities(network, clips)
                probabilities[name] = answers.float().cpu().numpy()
                if not np.isfinite(probabilities[name]).all():
                    raise InputError(f"{name}: its answers are not finite; accepted: weights that give finite ones")
            rows = None if features is None else features.float().cpu().numpy()
        return [
            Prediction(
                path=videos.names[number],
                probabilities={name: values[row] for name, values in probabilities.items()},
                features=None if rows is None else rows[row],
            )
            for row, number in enumerate(batch.videos)
        ]


def view_answers(network: Backbone, views: Tensor) -> tuple[Tensor, Tensor]:
    """(V, views, 3, T, S, S) uint8 -> (V, K), (V, D): the means over a video's views of softmax and features."""

    def answers(clips: Tensor) -> tuple[Tensor, Tensor]:
        features = network.features(clips)
        return torch.softmax(network.head(network.dropout(features)).float(), dim=1), features

    probabilities, features = mean_over_views(views, answers)
    return probabilities, features


def _names_a_video(error: LoaderError, videos: Videos) -> bool:
    """Tells an error that speaks of one of the videos from one of the machine."""
    return any(path in str(error) for path in videos.pool().paths)
