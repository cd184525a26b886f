"""Evaluation of a run's networks on its validation videos, at its end or by any later call; what is kept of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cmpl import build
from cmpl.config import Config, changed
from cmpl.evaluate import Predictions, accuracy, confidence, no_note, predict
from cmpl.evaluation_file import write_evaluation
from cmpl.methods.method import Method
from cmpl.start import check_evaluated
from cmpl.training.checkpoint import chosen_checkpoint, load_evaluated
from cmpl.training.problems import say_where_unwritable
from cmpl.training.ranks import Ranks
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import Runtime, settle
from pipelines.catalog.dataset import Dataset
from pipelines.files import written_whole
from pipelines.problems import set_aside
from pipelines.progress import Progress, no_progress


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Accuracy of every network on the validation videos, and what it was taken over.

    scores: network -> {"top1", "top5", "per_class"} as shares of 1; where the method has a threshold, what `confidence`
    gives, too.
    """

    scores: dict[str, dict[str, Any]]
    clips: int
    crops: int
    num_evaluated: int
    problems: dict[str, str]  # path of a video that could not be decoded, or is damaged -> reason
    predictions: dict[str, Predictions]  # network -> its answers to each video

    def to_json(self) -> dict[str, Any]:
        """Scores by network, then the counts, as result.json holds them; problems are the caller's to merge."""
        return {**self.scores, "clips": self.clips, "crops": self.crops, "num_evaluated": self.num_evaluated}


def evaluate(
    method: Method,
    config: Config,
    data: Dataset,
    *,
    runtime: Runtime,
    ranks: Ranks,
    clips: int,
    crops: int,
    clip_stride: int = 1,
    progress: Progress = no_progress,
    note: Callable[[Mapping[str, str]], None] = no_note,
) -> Evaluated:
    """Evaluates every network of the method on the validation videos; the same on every rank.

    `note` is told of the videos set aside (path -> reason): after each batch this rank's, at the end all ranks'.
    """
    pool = data.evaluation_pool()
    networks = build.networks_of(method)
    with build.evaluation_loader_of(config, pool, runtime=runtime, ranks=ranks, clips=clips, crops=crops) as loader:
        predictions, problems = predict(
            networks, loader, runtime=runtime, ranks=ranks, clip_stride=clip_stride, progress=progress, note=note
        )
    note(problems)
    scores = {name: accuracy(part, data.classes) for name, part in predictions.items()}
    threshold = config.method.least_confidence
    if threshold is not None:
        for name, part in predictions.items():
            scores[name] |= confidence(part, threshold=threshold)
    num_evaluated = len(predictions["primary"].labels)
    return Evaluated(
        scores=scores,
        clips=clips,
        crops=crops,
        num_evaluated=num_evaluated,
        problems=problems,
        predictions=predictions,
    )


def keep(evaluated: Evaluated, file: Path, data: Dataset, *, reporter: Reporter) -> bool:
    """Writes what was found of each video; where it cannot be written, says so. Whether it was."""
    manifest, indices = data.evaluation_selection()
    paths = [manifest.paths[index] for index in indices.tolist()]
    try:
        file.parent.mkdir(exist_ok=True)
        write_evaluation(file, evaluated.predictions, paths=paths, classes=data.classes)
    except OSError as error:
        reporter.note(f"{file}: not kept ({error.strerror or error})")
        return False
    return True


def evaluate_run(
    path: Path,
    *,
    clips: int | None,
    crops: int | None,
    which: str = "last",
    reporter: Reporter,
    device: str = "auto",
    data_root: str | None = None,
    other_videos: bool = False,
    clip_stride: int = 1,
) -> dict[str, Any]:
    """The result of a run's last or best checkpoint under any number of clips and crops.

    data_root: where the data set lies now. other_videos: whether the validation videos may be others than the run's;
    what differs is said. clip_stride: shows every so many frames of a clip in place of all (Fig. 5). The result, and
    what was found of each video, are kept in the run's folder, unless the videos are others.
    Raises InputError where the run has no such checkpoint, and where the data's classes are not the run's.
    """
    run = RunDirectory(path)
    config = run.config()
    if data_root is not None:
        config = changed(config, "data", root=str(data_root))
    found, checkpoint, complaints = chosen_checkpoint(run.checkpoints, which)
    for line in complaints:
        reporter.note(f"{line}; the one before is evaluated")
    data = build.open_data(config, progress=reporter.progress)
    check_evaluated(run, checkpoint, config, data, other_videos=other_videos, reporter=reporter)
    runtime = settle(replace(config.runtime, device=device))
    torch.set_num_threads(runtime.torch_threads)
    method = build.method_of(config, num_classes=len(data.classes))
    load_evaluated(method, checkpoint, source=str(found))
    unusable, note = data.val.problems_by_path(), say_where_unwritable(run.note_problems, reporter.note)
    note(unusable, at_once=True)
    evaluated = evaluate(
        method.to(runtime.device),
        config,
        data,
        runtime=runtime,
        ranks=Ranks(),
        clips=clips or config.evaluation.clips,
        crops=crops or config.evaluation.crops,
        clip_stride=clip_stride,
        progress=reporter.progress,
        note=note,
    )
    note(evaluated.problems, at_once=True)
    result = {
        **evaluated.to_json(),
        "clip_stride": clip_stride,
        "step": checkpoint.step,
        **problems_as_json(unusable | evaluated.problems),
    }
    if not other_videos:
        views = {"clips": evaluated.clips, "crops": evaluated.crops, "clip_stride": clip_stride}
        file = run.later_evaluation(step=checkpoint.step, **views)
        if keep(evaluated, file, data, reporter=reporter):
            with written_whole(file.with_suffix(".json")) as draft:
                draft.write_text(json.dumps(result, indent=1) + "\n")
    return result


def problems_as_json(problems: Mapping[str, str]) -> dict[str, Any]:
    """Videos set aside (path -> reason), and paths of damaged ones that were shown, as result.json holds them."""
    aside = set_aside(problems)
    return {
        "num_set_aside": len(aside),
        "set_aside": aside,
        "damaged": [path for path in problems if path not in aside],
    }
