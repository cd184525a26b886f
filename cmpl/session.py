"""A run from a configuration to a result: the passage that ties data, method, trainer and evaluation together."""

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cmpl import build
from cmpl.config import Config, changed, flattened
from cmpl.evaluate import Predictions, accuracy, confidence, no_note, predict
from cmpl.evaluation_file import write_evaluation
from cmpl.introduction import classes_lost, introduce, remarks_on_classes
from cmpl.loggers.logger import LoggedRun, Loggers, loggers_of
from cmpl.methods.method import Method
from cmpl.registries import method_class
from cmpl.start import Start, check_evaluated, claim, fit_into_memory, start_of
from cmpl.training.autotune import autotune
from cmpl.training.checkpoint import checkpoints, chosen_checkpoint, load_evaluated, step_of
from cmpl.training.initialize import initialize
from cmpl.training.loop import DivergedError, Trainer, no_remarks
from cmpl.training.plan import plan_of
from cmpl.training.problems import say_where_unwritable
from cmpl.training.ranks import Ranks, first_rank_does, first_rank_first, join_ranks, leave_ranks
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import Runtime, device_type, settle, wait_as_asked
from cmpl.training.step_trial import StepChoice, noise_batch, try_step
from cmpl.training.switches import Switches, settle_switches
from cmpl.training.validation import Doubts, validation_metrics
from pipelines.catalog.dataset import Dataset
from pipelines.errors import InputError
from pipelines.files import written_whole
from pipelines.loading.loader import SemiLoader
from pipelines.loading.setup import cores_of_rank
from pipelines.plan.planner import Planner
from pipelines.problems import set_aside
from pipelines.progress import Progress, no_progress

TRACE = "trace.json.gz"
"""The file of a trace in a run's folder."""


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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of `train` ended: with a result, or stopped by a signal with a checkpoint (`result` is None)."""

    path: Path
    result: dict[str, Any] | None


def train(
    config: Config, *, path: Path, reporter: Reporter, tune_loader: bool = False, profile: bool = False
) -> Outcome:
    """Trains the run at `path` to its end and evaluates it; goes on where an earlier call was stopped or killed.

    With `profile`, a trace of a few steps is written to TRACE in its folder. With `tune_loader`, short trials choose
    the loader's threads, workers and batches ahead first (autotune.json).
    Raises InputError for whatever in the configuration or the data cannot be, for data that are not the run's, and
    where another process trains there. A finished run is not done again: its result is returned; with more steps it is
    continued.
    """
    run = RunDirectory(path)
    waiting = wait_as_asked(config.runtime, local_rank=int(os.environ.get("LOCAL_RANK", "0")))  # joining uses the GPU
    ranks = join_ranks(device_type(config.runtime.device))
    try:
        reporter = reporter if ranks.is_first else Reporter()
        first_rank_does(ranks, lambda: run.check(config))
        runtime = settle(config.runtime, local_rank=ranks.local_rank, num_local_ranks=ranks.num_local_ranks)
        torch.set_num_threads(runtime.torch_threads)
        with first_rank_first(ranks):
            data = build.open_data(config, progress=reporter.progress)
        start = start_of(config, data, run=run, ranks=ranks, reporter=reporter)
        if start.result is not None:
            reporter.note(f"{path} is finished; its result:")
            return Outcome(path=path, result=start.result)
        reporter.note(", ".join((*runtime.reasons, *([waiting] if waiting else []))))
        loggers = loggers_of(config.runtime.loggers, note=reporter.note)
        start = fit_into_memory(start, data, runtime=runtime, ranks=ranks, reporter=reporter)
        with contextlib.ExitStack() as stack:
            if unlocked := first_rank_does(ranks, lambda: stack.enter_context(run.locked())):
                reporter.note(f"{path}: its file system has no locks ({unlocked}); see that one training runs in it")
            stack.callback(loggers.close)
            return _train(
                start,
                data,
                run=run,
                runtime=runtime,
                ranks=ranks,
                reporter=reporter,
                loggers=loggers,
                tune_loader=tune_loader,
                profile=profile,
            )
    finally:
        leave_ranks()


def _train(
    start: Start,
    data: Dataset,
    *,
    run: RunDirectory,
    runtime: Runtime,
    ranks: Ranks,
    reporter: Reporter,
    loggers: Loggers,
    tune_loader: bool,
    profile: bool,
) -> Outcome:
    config, schedule = start.config, start.facts.course.current
    plans = build.planners(config, data)
    method = build.method_of(config, num_classes=len(data.classes))
    if config.init and not checkpoints(run.checkpoints):
        for line in initialize(method, config.init, classes=data.classes, least_share=config.init_share).lines():
            reporter.note(line)
    method.begin_training()
    unusable = data.problems()
    introduce(
        config, data, plans, schedule=schedule, unusable=unusable, runtime=runtime, ranks=ranks, reporter=reporter
    )
    switches = settle_switches(config, runtime=runtime, ranks=ranks, method=type(method))
    reporter.note(switches.line())
    if switches.on_trial:
        choice = _step_tried(switches, config, data, plans, start=start, run=run, runtime=runtime, ranks=ranks)
        for line in choice.lines():
            reporter.note(line)
        switches = choice.switches
    if tune_loader:  # first, so that what follows is built once, from the settings that were chosen
        config, runtime = _tuned(
            config,
            data,
            plans,
            start=start,
            run=run,
            runtime=runtime,
            switches=switches,
            ranks=ranks,
            reporter=reporter,
        )
    doubts, note = Doubts(config.method), run.note_problems if ranks.is_first else no_note

    def validate(method: Method) -> dict[str, float]:
        quick = evaluate(method, config, data, runtime=runtime, ranks=ranks, clips=1, crops=1, note=note)
        if line := doubts.line(quick.scores, progress=trainer.progress):
            reporter.note(line)
        return validation_metrics(quick.scores)

    trainer = trainer_of(
        method,
        config,
        plans,
        start=start,
        validate=validate,
        run=run,
        runtime=runtime,
        switches=switches,
        ranks=ranks,
        reporter=reporter,
        remarks=functools.partial(remarks_on_classes, plans[0].pool, data.classes),
        loggers=loggers,
        trace=run.path / TRACE if profile else None,
    )
    first_rank_does(ranks, lambda: claim(run, start))
    first_rank_does(ranks, lambda: run.note_problems(unusable, at_once=True))
    try:
        is_done = trainer.fit()
    except InputError as error:
        if ranks.is_first:
            run.abandon()  # where nothing was learned: what cannot start leaves no folder
            how = "diverged" if isinstance(error, DivergedError) else "failed"
            with contextlib.suppress(InputError):  # the disk may be full
                run.write_end(how, step=trainer.step, why=str(error))
        raise
    if not is_done:
        first_rank_does(ranks, lambda: run.write_end("stopped", step=trainer.step))
        return Outcome(path=run.path, result=None)
    result = _result(
        trainer,
        config,
        data,
        plans,
        num_steps=schedule.last_step,
        run=run,
        runtime=runtime,
        ranks=ranks,
        reporter=reporter,
    )
    first_rank_does(ranks, lambda: run.write_result(result))
    if ranks.is_first:
        loggers.begin(LoggedRun(path=run.path, first_step=schedule.last_step, config=flattened(config)))
        loggers.finish(result)
    return Outcome(path=run.path, result=result)


def trainer_of(
    method: Method,
    config: Config,
    plans: tuple[Planner, Planner],
    *,
    start: Start,
    validate: Callable[[Method], Mapping[str, float]] | None,
    run: RunDirectory,
    runtime: Runtime,
    switches: Switches,
    ranks: Ranks,
    reporter: Reporter,
    remarks: Callable[[Mapping[str, str]], list[str]] = no_remarks,
    loggers: Loggers | None = None,
    trace: Path | None = None,
) -> Trainer:
    schedule = start.facts.course.current
    plan = plan_of(
        config,
        first_step=schedule.first_step,
        num_steps=schedule.last_step,
        num_ranks=ranks.num_ranks,
        uses_unlabeled=method.uses_unlabeled,
        num_unlabeled_videos=len(plans[1].pool),
    )

    def loader_at(micro_step: int) -> SemiLoader:
        return build.loader_of(
            config,
            plans,
            runtime=runtime,
            ranks=ranks,
            first_micro_step=micro_step,
            first_unlabeled=plan.first_unlabeled_step * plan.accumulate,
        )

    return Trainer(
        method,
        plan=plan,
        identity=start.facts.identity,
        loader_at=loader_at,
        validate=validate,
        run=run,
        runtime=runtime,
        switches=switches,
        ranks=ranks,
        reporter=reporter,
        remarks=remarks,
        loggers=loggers,
        logged_config=flattened(config),
        trace=trace,
    )


def _result(
    trainer: Trainer,
    config: Config,
    data: Dataset,
    plans: tuple[Planner, Planner],
    *,
    num_steps: int,
    run: RunDirectory,
    runtime: Runtime,
    ranks: Ranks,
    reporter: Reporter,
) -> dict[str, Any]:
    """Evaluates a trained run: what result.json holds."""
    train_seconds, begin = trainer.wall_seconds, time.monotonic()
    found = evaluate(
        trainer.evaluated,
        config,
        data,
        runtime=runtime,
        ranks=ranks,
        clips=config.evaluation.clips,
        crops=config.evaluation.crops,
        progress=reporter.progress,
        note=run.note_problems if ranks.is_first else no_note,
    )
    first_rank_does(ranks, lambda: keep(found, run.evaluation, data, reporter=reporter))
    first_rank_does(ranks, lambda: run.note_problems(found.problems, at_once=True))
    problems = first_rank_does(ranks, run.problems)
    return {
        **found.to_json(),
        "num_labeled": len(data.labeled),
        "num_unlabeled": len(plans[1].pool),
        "steps": num_steps,
        "train_seconds": round(train_seconds, 1),
        "evaluation_seconds": round(time.monotonic() - begin, 1),
        "classes_without_labels": list(classes_lost(plans[0].pool, data.classes, problems)),
        **problems_as_json(problems),
    }


def problems_as_json(problems: Mapping[str, str]) -> dict[str, Any]:
    """Videos set aside (path -> reason), and paths of damaged ones that were shown, as result.json holds them."""
    aside = set_aside(problems)
    return {
        "num_set_aside": len(aside),
        "set_aside": aside,
        "damaged": [path for path in problems if path not in aside],
    }


def _step_tried(
    switches: Switches,
    config: Config,
    data: Dataset,
    plans: tuple[Planner, Planner],
    *,
    start: Start,
    run: RunDirectory,
    runtime: Runtime,
    ranks: Ranks,
) -> StepChoice:
    """What a trial of the step says of compiling it; the trial's networks are thrown away."""
    num_classes, kind = len(data.classes), method_class(config.method.name)

    def trainer_with(switches: Switches) -> Trainer:
        return trainer_of(
            build.method_of(config, num_classes=num_classes),
            config,
            plans,
            start=start,
            validate=None,
            run=run,
            runtime=runtime,
            switches=switches,
            ranks=ranks,
            reporter=Reporter(),
        )

    batch = noise_batch(
        build.geometry_of(config),
        num_labeled=config.batch.labeled,
        num_unlabeled=config.batch.unlabeled if kind.uses_unlabeled else 0,
        num_classes=num_classes,
        runtime=runtime,
    )
    done = checkpoints(run.checkpoints)
    num_steps = start.facts.course.current.last_step - (step_of(done[-1]) if done else 0)
    return try_step(switches, trainer_with=trainer_with, batch=batch, num_steps=num_steps)


def _tuned(
    config: Config,
    data: Dataset,
    plans: tuple[Planner, Planner],
    *,
    start: Start,
    run: RunDirectory,
    runtime: Runtime,
    switches: Switches,
    ranks: Ranks,
    reporter: Reporter,
) -> tuple[Config, Runtime]:
    """The run with the loader's settings that trials choose; the trials' networks are thrown away."""

    def loader_at(config: Config, runtime: Runtime, micro_step: int) -> SemiLoader:
        return build.loader_of(config, plans, runtime=runtime, ranks=ranks, first_micro_step=micro_step)

    method = build.method_of(config, num_classes=len(data.classes))
    trainer = trainer_of(
        method,
        config,
        plans,
        start=start,
        validate=None,
        run=run,
        runtime=runtime,
        switches=switches,
        ranks=ranks,
        reporter=reporter,
    )
    num_cores = cores_of_rank(ranks.num_local_ranks)
    choice = autotune(config, runtime, trainer=trainer, loader_at=loader_at, num_cores=num_cores)
    for line in choice.lines():
        reporter.note(line)
    if ranks.is_first:
        choice.write(run.path / "autotune.json")
    return choice.applied(config, runtime)


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
