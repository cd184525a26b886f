"""A run that is about to begin, or to go on: what all its parts share, opened and checked once."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cmpl import build
from cmpl.config import Config, flattened
from cmpl.introduction import held_line, introduce
from cmpl.loggers.logger import Loggers
from cmpl.memory import no_room_for_pictures
from cmpl.methods.method import Method
from cmpl.start import Start, fit_into_memory, start_of
from cmpl.training.checkpoint import checkpoints, step_of
from cmpl.training.course import Schedule
from cmpl.training.loop import Trainer, no_remarks
from cmpl.training.plan import TrainingPlan, plan_of
from cmpl.training.ranks import Ranks, first_rank_does, first_rank_first, join_ranks, leave_ranks
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import Runtime, device_type, settle, wait_as_asked
from cmpl.training.switches import Switches
from pipelines.catalog.dataset import Dataset
from pipelines.loading.loader import SemiLoader
from pipelines.plan.planner import Planner


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """One rank's view of the run at a folder, and where it stands."""

    start: Start
    data: Dataset
    plans: tuple[Planner, Planner]  # labeled, unlabeled
    run: RunDirectory
    runtime: Runtime
    ranks: Ranks
    reporter: Reporter

    @property
    def config(self) -> Config:
        """As it is trained: see `Start.config`."""
        return self.start.config

    @property
    def schedule(self) -> Schedule:
        """The steps of this call."""
        return self.start.facts.course.current

    @property
    def num_classes(self) -> int:
        """Classes of the data set, labeled or not."""
        return len(self.data.classes)

    def fitted(self) -> "Ready":
        """The same with forward passes that fit the memory. Raises InputError as `fit_into_memory` does."""
        start = fit_into_memory(self.start, self.data, runtime=self.runtime, ranks=self.ranks, reporter=self.reporter)
        most = start.config.runtime.held_mib << 20
        held = max(plan.pool.bytes_held(most=most) for plan in self.plans)
        why = no_room_for_pictures(
            start.config, held, num_classes=self.num_classes, runtime=self.runtime, ranks=self.ranks
        )
        if why:
            self.reporter.note(f"{why}: each clip is decoded anew")
            runtime = replace(start.config.runtime, held_mib=0)
            start = replace(start, config=replace(start.config, runtime=runtime))
        return replace(self, start=start)

    def tuned(self, config: Config, runtime: Runtime) -> "Ready":
        """The same with other settings of the loader."""
        return replace(self, start=replace(self.start, config=config), runtime=runtime)

    def introduce(self, unusable: dict[str, str]) -> None:
        """Says what is about to happen; `unusable` names videos that were set aside, and why."""
        introduce(
            self.config,
            self.data,
            self.plans,
            schedule=self.schedule,
            unusable=unusable,
            ranks=self.ranks,
            reporter=self.reporter,
        )
        if self.runtime.device_index is None and (line := held_line(self.config, self.plans)):
            self.reporter.note(line)

    def steps_done(self) -> int:
        """The step of the newest checkpoint; 0 without one."""
        done = checkpoints(self.run.checkpoints)
        return step_of(done[-1]) if done else 0

    def plan(self, *, uses_unlabeled: bool) -> TrainingPlan:
        """What the training loop goes by."""
        return plan_of(
            self.config,
            first_step=self.schedule.first_step,
            num_steps=self.schedule.last_step,
            num_ranks=self.ranks.num_ranks,
            uses_unlabeled=uses_unlabeled,
            num_unlabeled_videos=len(self.plans[1].pool),
        )

    def trainer(
        self,
        method: Method,
        *,
        switches: Switches,
        validate: Callable[[Method], Mapping[str, float]] | None = None,
        remarks: Callable[[Mapping[str, str]], list[str]] = no_remarks,
        loggers: Loggers | None = None,
        trace: Path | None = None,
    ) -> Trainer:
        """The trainer of the run with this method; arguments as of `Trainer`."""
        plan = self.plan(uses_unlabeled=method.uses_unlabeled)

        def loader_at(micro_step: int) -> SemiLoader:
            return build.loader_of(
                self.config,
                self.plans,
                runtime=self.runtime,
                ranks=self.ranks,
                first_micro_step=micro_step,
                first_unlabeled=plan.first_unlabeled_step * plan.accumulate,
            )

        return Trainer(
            method,
            plan=plan,
            identity=self.start.facts.identity,
            loader_at=loader_at,
            validate=validate,
            run=self.run,
            runtime=self.runtime,
            switches=switches,
            ranks=self.ranks,
            reporter=self.reporter,
            remarks=remarks,
            loggers=loggers,
            logged_config=flattened(self.config),
            trace=trace,
        )

    def trial_trainer(self, switches: Switches) -> Trainer:
        """A silent trainer of networks of its own, to be thrown away."""
        method = build.method_of(self.config, num_classes=self.num_classes)
        method.begin_training()
        return replace(self, reporter=Reporter()).trainer(method, switches=switches)


@contextlib.contextmanager
def opened(config: Config, *, path: Path, reporter: Reporter) -> Iterator[Ready]:
    """The run at `path`, as `config` asks for it, with the ranks of this job while the block lasts; only the first
    reports. Nothing is written. Raises InputError for what in the configuration or the data cannot be, and for data
    that are not the run's."""
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
        if start.result is None:
            reporter.note(", ".join(dict.fromkeys((*runtime.reasons, *([waiting] if waiting else [])))))
        yield Ready(
            start=start,
            data=data,
            plans=build.planners(start.config, data),
            run=run,
            runtime=runtime,
            ranks=ranks,
            reporter=reporter,
        )
    finally:
        leave_ranks()
