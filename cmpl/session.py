"""A run from a configuration to a result: the passage that ties data, method, trainer and evaluation together."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cmpl import build
from cmpl.config import Config, flattened
from cmpl.evaluate import no_note
from cmpl.evaluation import evaluate, keep, problems_as_json
from cmpl.introduction import classes_lost, introduce, remarks_on_classes
from cmpl.loggers.logger import LoggedRun, Loggers, loggers_of
from cmpl.methods.method import Method
from cmpl.registries import method_class
from cmpl.start import Start, claim, fit_into_memory, start_of
from cmpl.training.autotune import autotune
from cmpl.training.checkpoint import checkpoints, step_of
from cmpl.training.initialize import initialize
from cmpl.training.loop import DivergedError, Trainer, no_remarks
from cmpl.training.plan import plan_of
from cmpl.training.ranks import Ranks, first_rank_does, first_rank_first, join_ranks, leave_ranks
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import Runtime, device_type, settle, wait_as_asked
from cmpl.training.step_trial import StepChoice, noise_batch, try_step
from cmpl.training.switches import Switches, settle_switches
from cmpl.training.validation import Doubts, validation_metrics
from pipelines.catalog.dataset import Dataset
from pipelines.errors import InputError
from pipelines.loading.loader import SemiLoader
from pipelines.loading.setup import cores_of_rank
from pipelines.plan.planner import Planner

TRACE = "trace.json.gz"
"""The file of a trace in a run's folder."""


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
