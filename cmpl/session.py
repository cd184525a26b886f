"""A run from a configuration to a result: the passage that ties data, method, trainer and evaluation together."""

import contextlib
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmpl import build
from cmpl.config import Config, flattened
from cmpl.evaluate import no_note
from cmpl.evaluation import evaluate, keep, problems_as_json
from cmpl.introduction import classes_lost, remarks_on_classes
from cmpl.loggers.logger import LoggedRun, Loggers, loggers_of
from cmpl.methods.method import Method
from cmpl.ready import Ready, opened
from cmpl.registries import method_class
from cmpl.start import claim
from cmpl.training.autotune import autotune
from cmpl.training.initialize import initialize
from cmpl.training.loop import DivergedError, Trainer
from cmpl.training.ranks import first_rank_does
from cmpl.training.reporter import Reporter
from cmpl.training.runtime import Runtime
from cmpl.training.step_trial import noise_batch, try_step
from cmpl.training.switches import Switches, settle_switches
from cmpl.training.validation import Doubts, validation_metrics
from pipelines.errors import InputError
from pipelines.loading.loader import SemiLoader
from pipelines.loading.setup import cores_of_rank

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
    with opened(config, path=path, reporter=reporter) as ready:
        if ready.start.result is not None:
            ready.reporter.note(f"{path} is finished; its result:")
            return Outcome(path=path, result=ready.start.result)
        loggers = loggers_of(config.runtime.loggers, note=ready.reporter.note)
        ready, run = ready.fitted(), ready.run
        with contextlib.ExitStack() as stack:
            if unlocked := first_rank_does(ready.ranks, lambda: stack.enter_context(run.locked())):
                ready.reporter.note(
                    f"{path}: its file system has no locks ({unlocked}); see that one training runs in it"
                )
            stack.callback(loggers.close)
            return _train(ready, loggers=loggers, tune_loader=tune_loader, profile=profile)


def _train(ready: Ready, *, loggers: Loggers, tune_loader: bool, profile: bool) -> Outcome:
    run, ranks, note = ready.run, ready.ranks, ready.reporter.note
    method, unusable = _first_method(ready), ready.data.problems()
    ready.introduce(unusable)
    switches = settle_switches(ready.config, runtime=ready.runtime, ranks=ranks, method=type(method))
    note(switches.line())
    if switches.on_trial:
        switches = _tried(ready, switches)
    if tune_loader:  # first, so that what follows is built once, from the settings that were chosen
        ready = _tuned(ready, switches)
    doubts, of_problems = Doubts(ready.config.method), run.note_problems if ranks.is_first else no_note

    def validate(method: Method) -> dict[str, float]:
        config, data = ready.config, ready.data
        quick = evaluate(method, config, data, runtime=ready.runtime, ranks=ranks, clips=1, crops=1, note=of_problems)
        if line := doubts.line(quick.scores, progress=trainer.progress):
            note(line)
        return validation_metrics(quick.scores)

    trainer = ready.trainer(
        method,
        switches=switches,
        validate=validate,
        remarks=functools.partial(remarks_on_classes, ready.plans[0].pool, ready.data.classes),
        loggers=loggers,
        trace=run.path / TRACE if profile else None,
    )
    first_rank_does(ranks, lambda: claim(run, ready.start))
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
    result = _result(trainer, ready)
    first_rank_does(ranks, lambda: run.write_result(result))
    if ranks.is_first:
        loggers.begin(LoggedRun(path=run.path, first_step=ready.schedule.last_step, config=flattened(ready.config)))
        loggers.finish(result)
    return Outcome(path=run.path, result=result)


def _first_method(ready: Ready) -> Method:
    """The method as training begins with it: its weights drawn, or read from files."""
    config = ready.config
    method = build.method_of(config, num_classes=ready.num_classes)
    if config.init and not ready.steps_done():
        found = initialize(method, config.init, classes=ready.data.classes, least_share=config.init_share)
        for line in found.lines():
            ready.reporter.note(line)
    method.begin_training()
    return method


def _result(trainer: Trainer, ready: Ready) -> dict[str, Any]:
    """Evaluates a trained run: what result.json holds."""
    config, data, run, ranks = ready.config, ready.data, ready.run, ready.ranks
    train_seconds, begin = trainer.wall_seconds, time.monotonic()
    found = evaluate(
        trainer.evaluated,
        config,
        data,
        runtime=ready.runtime,
        ranks=ranks,
        clips=config.evaluation.clips,
        crops=config.evaluation.crops,
        progress=ready.reporter.progress,
        note=run.note_problems if ranks.is_first else no_note,
    )
    first_rank_does(ranks, lambda: keep(found, run.evaluation, data, reporter=ready.reporter))
    first_rank_does(ranks, lambda: run.note_problems(found.problems, at_once=True))
    problems = first_rank_does(ranks, run.problems)
    labeled, unlabeled = (planner.pool for planner in ready.plans)
    return {
        **found.to_json(),
        "num_labeled": len(data.labeled),
        "num_unlabeled": len(unlabeled),
        "steps": ready.schedule.last_step,
        "train_seconds": round(train_seconds, 1),
        "evaluation_seconds": round(time.monotonic() - begin, 1),
        "classes_without_labels": list(classes_lost(labeled, data.classes, problems)),
        **problems_as_json(problems),
    }


def _tried(ready: Ready, switches: Switches) -> Switches:
    """The switches with those on trial decided; the trial's networks are thrown away."""
    config = ready.config
    uses_unlabeled = method_class(config.method.name).uses_unlabeled
    batch = noise_batch(
        build.geometry_of(config),
        num_labeled=config.batch.labeled,
        num_unlabeled=config.batch.unlabeled if uses_unlabeled else 0,
        num_classes=ready.num_classes,
        runtime=ready.runtime,
    )
    num_steps = ready.schedule.last_step - ready.steps_done()
    choice = try_step(switches, trainer_with=ready.trial_trainer, batch=batch, num_steps=num_steps)
    for line in choice.lines():
        ready.reporter.note(line)
    return choice.switches


def _tuned(ready: Ready, switches: Switches) -> Ready:
    """The run with the loader's settings that trials choose; the trials' networks are thrown away."""

    def loader_at(config: Config, runtime: Runtime, micro_step: int) -> SemiLoader:
        return build.loader_of(config, ready.plans, runtime=runtime, ranks=ready.ranks, first_micro_step=micro_step)

    choice = autotune(
        ready.config,
        ready.runtime,
        trainer=ready.trial_trainer(switches),
        loader_at=loader_at,
        num_cores=cores_of_rank(ready.ranks.num_local_ranks),
    )
    for line in choice.lines():
        ready.reporter.note(line)
    if ready.ranks.is_first:
        choice.write(ready.run.path / "autotune.json")
    return ready.tuned(*choice.applied(ready.config, ready.runtime))
