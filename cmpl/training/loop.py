"""The training loop: batches in, checkpoints and metrics out. Everything that is not the method or the data.

Legend: a step is one update of the optimizer; it takes `batch.accumulate` micro-steps of one batch a rank each.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from cmpl.loggers.logger import Loggers
from cmpl.methods.method import Method, Terms
from cmpl.methods.views import narrow_clips
from cmpl.training import checkpoint as ckpt
from cmpl.training.answers import AnswerLog, spans_of
from cmpl.training.checkpoint import all_finite
from cmpl.training.identity import Identity, differences
from cmpl.training.metrics import MetricsLog, TermSums, mean_over_ranks, with_precision
from cmpl.training.optim import aligned_gradients, learning_rate, set_learning_rate, sgd
from cmpl.training.plan import TrainingPlan
from cmpl.training.profiling import step_trace
from cmpl.training.ranks import Ranks, any_rank, first_rank_does, gather
from cmpl.training.reporter import OutputClosedError, Reporter, StepReport
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import Runtime
from cmpl.training.stopping import StopRequest
from cmpl.training.switches import Switches
from cmpl.training.wrapped import averaged, prepared, shared
from pipelines.batch import SemiBatch
from pipelines.errors import InputError, LoaderError
from pipelines.ranges import range_of


class DivergedError(InputError):
    """The losses or the weights are no numbers any more."""


class Batches(Protocol):
    """What a step asks of a loader."""

    wait_seconds: float

    def __next__(self) -> SemiBatch: ...


class Loader(Batches, Protocol):
    """What the loop asks of a loader; pipelines.loading.loader.SemiLoader is one."""

    @property
    def problems(self) -> dict[str, str]: ...
    def close(self) -> None: ...


def no_remarks(problems: Mapping[str, str]) -> list[str]:
    """Nothing to say."""
    return []


class Trainer:
    """Trains a method to `num_steps`, from wherever its run directory stands.

    `identity` is stored with every checkpoint: classes in the order of the labels, geometry, digests of the videos.
    `loader_at(micro_step)` gives this rank's loader from there on; `validate(method)` the quick validation's metrics,
    `val_top1` among them; `remarks(problems)` lines to say, once, of videos that were set aside (path -> reason).
    `loggers` hear the metrics on the first rank, and as they begin `logged_config`, field by field. `trace` is the file
    that a trace of some of its steps is written to.
    """

    def __init__(
        self,
        method: Method,
        *,
        plan: TrainingPlan,
        identity: Identity,
        loader_at: Callable[[int], Loader],
        validate: Callable[[Method], Mapping[str, float]] | None,
        run: RunDirectory,
        runtime: Runtime,
        switches: Switches,
        ranks: Ranks,
        reporter: Reporter,
        remarks: Callable[[Mapping[str, str]], list[str]] = no_remarks,
        loggers: Loggers | None = None,
        logged_config: dict[str, Any] | None = None,
        trace: Path | None = None,
    ) -> None:
        self.plan, self.num_steps, self.run, self.runtime, self.ranks = plan, plan.num_steps, run, runtime, ranks
        self.reporter, self.validate, self.loader_at = reporter, validate, loader_at
        self.identity, self.remarks = identity, remarks
        self.loggers, self.logged_config, self.trace = loggers, logged_config, trace
        self.remarked: set[str] = set()
        self.switches = switches
        self.method = prepared(method, plan, runtime, ranks, switches)
        self.optimizer = sgd(
            self.method,
            lr=plan.peak_lr,
            momentum=plan.momentum,
            nesterov=plan.nesterov,
            weight_decay=plan.weight_decay,
            fused=switches.fused_sgd,
        )
        self.average = averaged(self.method, plan.ema_decay)
        self.parallel = shared(self.method, ranks=ranks, switches=switches)
        self.step = 0
        self.earlier_seconds = 0.0  # of training, before this call
        self.begun_at = self.saved_at = time.monotonic()
        self.best_top1 = -1.0
        self.best_step: int | None = None
        self.saved_step: int | None = None
        self.validated_step: int | None = None
        self.sums = TermSums()
        self.num_noted = 0  # problems of this rank in problems.json, at the last look
        self.answers: AnswerLog | None = None
        self.num_videos = 0  # of this rank, since the last report
        self.stop = StopRequest(note=reporter.note)
        self.is_at_step = True  # networks are exactly those of `step`: no forward pass of the next one has been

    @property
    def evaluated(self) -> Method:
        """The method whose networks are evaluated: the average where there is one."""
        average: Method = self.average.module if self.average else self.method  # type: ignore[assignment]
        return average

    @property
    def progress(self) -> float:
        """Share of the schedule's steps that are done, 0 to 1."""
        done, length = self._place()
        return done / length

    def _place(self) -> tuple[int, int]:
        """Steps of the schedule that are done, and all of them."""
        return self.step - self.plan.first_step, self.num_steps - self.plan.first_step

    @property
    def wall_seconds(self) -> float:
        """Seconds of training so far, over all calls."""
        return self.earlier_seconds + time.monotonic() - self.begun_at

    def fit(self) -> bool:
        """Trains to the end; False where a signal stopped it first. A checkpoint stands at the end either way.

        Raises InputError where training diverged, or where batches or files fail; what was learned is saved before, as
        far as it can be.
        """
        is_validated = self._resume()
        self.begun_at = self.saved_at = time.monotonic()
        if self.step >= self.num_steps and is_validated:
            return True
        first = self.step * self.plan.accumulate
        self.answers = self._answer_log()
        with self.stop.heard(), contextlib.closing(self.loader_at(first)) as loader:
            log = self._metrics_log() if self.ranks.is_first else None
            try:
                if not is_validated and self._validate(log):
                    self._save(loader.problems)
                self._train(loader, log)
            except (LoaderError, OutputClosedError) as error:
                self._note(loader.problems | dict(getattr(error, "problems", ())), at_once=True)
                raise self._ended(error, loader.problems) from error
        return self.step == self.num_steps

    def _metrics_log(self) -> MetricsLog:
        return MetricsLog(self.run.path, first_step=self.step, loggers=self.loggers, config=self.logged_config)

    def _answer_log(self) -> AnswerLog:
        """Keeps the networks' answers to unlabeled videos, in some epochs of the schedule."""
        plan, videos = self.plan, self.identity.videos.get("unlabeled")
        number = plan.recorded_epochs if videos else 0
        steps = math.ceil(videos.number / plan.videos_per_step[1]) if videos else 1
        spans = spans_of(plan.first_step, plan.num_steps, steps_an_epoch=steps, number=number)
        return AnswerLog(self.run.path, spans=spans, first_step=self.step, ranks=self.ranks)

    def _train(self, loader: Loader, log: MetricsLog | None) -> None:
        with contextlib.ExitStack() as stack:
            traced: Callable[[], None] | None = None
            if self.trace and self.ranks.is_first:
                left = self.num_steps - self.step
                traced = stack.enter_context(step_trace(self.trace, note=self.reporter.note, num_steps=left))
            self._take_steps(loader, log, traced)

    def _take_steps(self, loader: Loader, log: MetricsLog | None, traced: Callable[[], None] | None) -> None:
        plan, mark = self.plan, time.monotonic()
        wait_mark, step_mark = loader.wait_seconds, self.step
        while self.step < self.num_steps:
            self.update(loader)
            self.step += 1
            if traced:
                traced()
            self._note(loader.problems)
            last = self.step == self.num_steps
            if last or self.step % plan.log_every_steps == 0:
                now = time.monotonic()
                self._report(log, loader, now - mark, loader.wait_seconds - wait_mark, self.step - step_mark)
                mark, wait_mark, step_mark = now, loader.wait_seconds, self.step
            if self.answers and self.answers.ends_at(self.step):
                self.answers.write(self.step)
            stop, due = self._agreed(meeting=step_mark == self.step)
            is_best = False
            if self._validation_is_due() and (last or not stop):  # before the checkpoint: a kill loses neither
                begin = time.monotonic()
                is_best = self._validate(log)
                mark += time.monotonic() - begin
            if last or stop or due or is_best or self.step % plan.checkpoint_every_steps == 0:
                self._save(loader.problems)
            if stop:
                break

    def _note(self, problems: dict[str, str], *, at_once: bool = False) -> None:
        """Has problems.json name the videos that this rank met; the other ranks' come with a checkpoint."""
        if self.ranks.is_first:
            is_old = len(problems) == self.num_noted and not at_once
            self.run.note_problems({} if is_old else problems, at_once=at_once)
            self.num_noted = len(problems)

    def _validation_is_due(self) -> bool:
        """Whether a validation of this step is still to do."""
        every = self.plan.validate_every_steps
        planned = every > 0 and (self.step % every == 0 or self.step == self.num_steps)
        return self.validate is not None and planned and self.validated_step != self.step

    def update(self, loader: Batches) -> None:
        """One update. No line of it waits for the device."""
        plan, accumulate = self.plan, self.plan.accumulate
        done, length = self._place()
        set_learning_rate(self.optimizer, learning_rate(done, num_steps=length, lr=plan.peak_lr, warmup=plan.warmup))
        self.optimizer.zero_grad(set_to_none=not self.switches.cuda_graphs)
        for micro_step in range(self.step * accumulate, (self.step + 1) * accumulate):
            batch = next(loader)
            self.num_videos += batch.num_videos
            self.is_at_step = False
            forward_pass = micro_step * self.ranks.num_ranks + self.ranks.rank
            torch.manual_seed(step_seed(plan.seed, forward_pass))  # dropout's
            if self.switches.cuda_graphs:
                torch.compiler.cudagraph_mark_step_begin()  # what the pass before gave is not read any more
            is_last = micro_step == (self.step + 1) * accumulate - 1
            with self._gradients_exchanged(is_last):
                with (
                    range_of("step: forward"),
                    self.runtime.autocast(),
                    narrow_clips(self.switches.narrow_clips),
                ):
                    loss, terms = self.parallel(
                        batch, unlabeled_weight=self._unlabeled_weight(), progress=self.progress
                    )
                with range_of("step: backward"):
                    (loss / accumulate).backward()
            self.sums.add({"loss": loss.detach(), **terms, **known_share(batch)})
            if self.answers and batch.unlabeled is not None:
                self.answers.add(self.step + 1, batch.unlabeled.videos, self.method.answers)
            self.method.answers = {}
        if plan.clip_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), plan.clip_gradient_norm)
        if self.switches.fused_sgd:
            aligned_gradients(self.method)
        with range_of("step: optimizer"):
            self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.method)
        self.is_at_step = True

    def _unlabeled_weight(self) -> float:
        """lambda, or 0 before the unlabeled losses are switched on."""
        return 0.0 if self.step < self.plan.first_unlabeled_step else self.plan.unlabeled_weight

    def _gradients_exchanged(self, is_last: bool) -> contextlib.AbstractContextManager[object]:
        """Ranks exchange gradients once a step, with the last micro-step."""
        if isinstance(self.parallel, DistributedDataParallel) and not is_last:
            return self.parallel.no_sync()
        return contextlib.nullcontext()

    def _report(self, log: MetricsLog | None, loader: Loader, seconds: float, waited: float, num_steps: int) -> None:
        """Reads the sums, once, and tells the log and the reporter."""
        metrics = self.sums.means() | {"wait_share": waited / seconds}
        metrics = with_precision(mean_over_ranks(metrics, self.runtime.device))
        if self.answers:
            self.answers.settle()  # the device was just read
        metrics["videos_per_second"] = self.num_videos * self.ranks.num_ranks / seconds
        self.num_videos = 0
        metrics["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        if not math.isfinite(metrics["loss"]):
            raise self._diverged(f"loss: received {metrics['loss']}")
        if log:
            log.write(self.step, metrics)
            left = seconds / num_steps * (self.num_steps - self.step)
            report = StepReport(step=self.step, num_steps=self.num_steps, metrics=metrics, seconds_left=left)
            self.reporter.step(report)
            for line in self.remarks(loader.problems):
                if line not in self.remarked:
                    self.remarked.add(line)
                    self.reporter.note(line)

    def _validate(self, log: MetricsLog | None) -> bool:
        """Quick validation; whether it is the best so far."""
        assert self.validate is not None
        metrics = dict(self.validate(self.evaluated))
        top1 = metrics["val_top1"]
        self.validated_step = self.step
        if log:
            log.write(self.step, metrics)
        self.reporter.note(f"step {self.step}: validation top-1 {top1:.1%} (one clip, one crop)")
        if top1 <= self.best_top1:
            return False
        self.best_top1, self.best_step = top1, self.step
        return True

    def _save(self, problems: dict[str, str]) -> None:
        """Saves a checkpoint, where all its numbers are finite on every rank. Raises InputError where not, and where it
        cannot be written; the older ones stay."""
        tensors = self._tensors()
        spoiled = not all_finite(value for part in tensors.values() for value in part.values())
        if any_rank([spoiled], self.runtime.device)[0]:
            raise self._diverged("weights: received numbers that are not finite")
        state = {
            **self.identity.to_json(),
            "wall_seconds": self.wall_seconds,
            "best_top1": self.best_top1,
            "best_step": self.best_step,
            "is_validated": not self._validation_is_due(),
            "videos_per_step": list(self.plan.videos_per_step),
        }

        def write() -> None:
            ckpt.save_checkpoint(self.run.checkpoints, ckpt.Checkpoint(step=self.step, state=state, **tensors))
            self.run.note_problems(of_all, at_once=True)

        of_all = {path: reason for part in gather(problems) for path, reason in part.items()}
        if self.answers:
            self.answers.write(self.step)
        first_rank_does(self.ranks, write)
        self.saved_step, self.saved_at = self.step, time.monotonic()

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds, part by part."""
        return {
            "model": ckpt.module_tensors(self.method),
            "optimizer": ckpt.momentum_tensors(self.method, self.optimizer),
            "ema": ckpt.module_tensors(self.average) if self.average else {},
        }

    def _diverged(self, received: str) -> DivergedError:
        """What to tell the user whose training diverged."""
        kept = f"the newest checkpoint, of step {self.saved_step}, is from before"
        return DivergedError(
            f"{received} by step {self.step}: training diverged; a lower optim.lr than {self.plan.lr} may do, with "
            f"--out for a new run; {kept if self.saved_step is not None else 'there is no checkpoint from before'}"
        )

    def _ended(self, error: InputError, problems: dict[str, str]) -> InputError:
        """Saves where the networks are exactly those of a step, and says how to go on."""
        if self.ranks.num_ranks == 1 and self.is_at_step and self.step not in (0, self.saved_step):
            self._save(problems)
        there = f"from step {self.saved_step}" if self.saved_step is not None else "from the start"
        return InputError(f"{error}; the same command goes on {there}")

    def _resume(self) -> bool:
        """Takes up the last good checkpoint, if there is one, and sets newer ones aside. False where the validation of
        its step is still to do."""
        checkpoint: ckpt.Checkpoint | None = None

        def choose() -> Path | None:
            nonlocal checkpoint
            checkpoint = self._chosen()
            return None if checkpoint is None else ckpt.checkpoint_at(self.run.checkpoints, checkpoint.step)

        found = first_rank_does(self.ranks, choose)
        if found is None:
            return True
        if checkpoint is None:  # the first rank has read it already
            checkpoint = ckpt.load_checkpoint(found)
        self._check_same_run(checkpoint, str(found))
        ckpt.load_into(self.method, checkpoint.model, source=str(found))
        ckpt.load_momentum(self.method, self.optimizer, checkpoint.optimizer)
        if self.average:
            ckpt.load_into(self.average, checkpoint.ema, source=str(found))
        state = checkpoint.state
        self.step = self.saved_step = checkpoint.step
        self.best_top1 = state["best_top1"]
        if state.get("is_validated", True):
            self.validated_step = self.step
        best = ckpt.best_checkpoint(self.run.checkpoints)
        self.best_step = None if best is None else ckpt.step_of(best)
        self.earlier_seconds = state["wall_seconds"]
        self.reporter.note(f"going on from step {self.step} of {self.num_steps}")
        return not self._validation_is_due()

    def _chosen(self) -> ckpt.Checkpoint | None:
        """The last good checkpoint; newer ones are set aside, each with a line."""
        found, complaints = ckpt.last_good_checkpoint(self.run.checkpoints)
        for line in complaints:
            self.reporter.note(f"{line}; set aside")
        ckpt.set_broken_aside(self.run.checkpoints, after_step=-1 if found is None else found.step)
        return found

    def _check_same_run(self, checkpoint: ckpt.Checkpoint, source: str) -> None:
        """Raises InputError where a checkpoint is not of this run's videos and classes."""
        try:
            known = Identity.from_json(checkpoint.state)
            videos_per_step = tuple(checkpoint.state["videos_per_step"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"checkpoint {source}: state.json lacks {error}; accepted: one of this program") from error
        changed = differences(known, self.identity, listings=(None, None))
        if videos_per_step != self.plan.videos_per_step:
            changed.append(f"videos a step: {list(videos_per_step)} there, {list(self.plan.videos_per_step)} now")
        if changed:
            raise InputError(f"checkpoint {source}: of another run: {'; '.join(changed)}; accepted: this run's own")

    def _agreed(self, *, meeting: bool) -> tuple[bool, bool]:
        """Whether to stop after this step, and whether so much time has passed that a checkpoint is due: all ranks
        together, where they meet anyway. The first rank's clock counts."""
        minutes = self.plan.checkpoint_every_minutes
        due = self.ranks.is_first and 0 < 60 * minutes <= time.monotonic() - self.saved_at
        if self.ranks.num_ranks == 1:
            return self.stop.is_asked, due
        if not meeting:
            return False, False
        stop, due = any_rank([self.stop.is_asked, due], self.runtime.device)
        return stop, due


def known_share(batch: SemiBatch) -> Terms:
    """The share of a batch's unlabeled videos whose truth is known: without any, nothing is judged."""
    return {} if batch.unlabeled is None else {"truth_known": (batch.unlabeled.truth >= 0).float().mean()}


def step_seed(seed: int, forward_pass: int) -> int:
    """A seed for torch's generator, of (run, forward pass over all ranks): dropout, too, is a function of the position,
    on any number of ranks."""
    return (seed * 1_000_003 + forward_pass) * 1_009
