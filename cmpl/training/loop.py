"""The training loop: batches in, checkpoints and metrics out. Everything that is not the method or the data.

Legend: a step is one update of the optimizer; it takes `batch.accumulate` micro-steps of one batch a rank each.
"""

import contextlib
import math
import signal
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cmpl.methods.method import Method
from cmpl.training import checkpoint as ckpt
from cmpl.training.metrics import MetricsLog, TermSums, mean_over_ranks, with_precision
from cmpl.training.optim import learning_rate, set_learning_rate, sgd
from cmpl.training.plan import TrainingPlan
from cmpl.training.ranks import Ranks, any_rank, wait_for_all
from cmpl.training.reporter import Reporter, StepReport
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import Runtime
from pipelines.errors import InputError


class Trainer:
    """Trains a method to `num_steps`, from wherever its run directory stands.

    `classes` are stored with every checkpoint, in the order of the labels.
    `loader_at(micro_step)` gives this rank's loader from there on; `validate(method)` the quick validation's top-1.
    """

    def __init__(
        self,
        method: Method,
        *,
        plan: TrainingPlan,
        classes: tuple[str, ...],
        loader_at: Callable,
        validate: Callable[[Method], float] | None,
        run: RunDirectory,
        runtime: Runtime,
        ranks: Ranks,
        reporter: Reporter,
    ) -> None:
        self.plan, self.num_steps, self.run, self.runtime, self.ranks = plan, plan.num_steps, run, runtime, ranks
        self.reporter, self.validate, self.loader_at = reporter, validate, loader_at
        self.classes = classes
        self.method = prepared(method, plan, runtime, ranks)
        self.optimizer = sgd(
            self.method,
            lr=plan.peak_lr,
            momentum=plan.momentum,
            nesterov=plan.nesterov,
            weight_decay=plan.weight_decay,
        )
        self.average = averaged(self.method, plan.ema_decay)
        self.parallel = DistributedDataParallel(self.method) if ranks.num_ranks > 1 else self.method
        self.step = 0
        self.wall_seconds = 0.0
        self.best_top1 = -1.0
        self.sums = TermSums()
        self.stop_asked = False

    @property
    def evaluated(self) -> Method:
        """The method whose networks are evaluated: the average where there is one."""
        return self.average.module if self.average else self.method

    def fit(self) -> bool:
        """Trains to the end; False where a signal stopped it first. A checkpoint stands at the end either way."""
        self._resume()
        if self.step >= self.num_steps:
            return True
        with self._signals(), contextlib.closing(self.loader_at(self.step * self.plan.accumulate)) as loader:
            log = MetricsLog(self.run.path, first_step=self.step) if self.ranks.is_first else None
            begin = mark = time.monotonic()
            wait_mark, step_mark = loader.wait_seconds, self.step
            while self.step < self.num_steps:
                self.update(loader)
                self.step += 1
                last = self.step == self.num_steps
                if last or self.step % self.plan.log_every_steps == 0:
                    now = time.monotonic()
                    self._report(log, loader, now - mark, loader.wait_seconds - wait_mark, self.step - step_mark)
                    mark, wait_mark, step_mark = now, loader.wait_seconds, self.step
                stop = self._asked_to_stop(synced=step_mark == self.step)
                if last or stop or self.step % self.plan.checkpoint_every_steps == 0:
                    self._save(time.monotonic() - begin, loader.problems)
                every = self.plan.validate_every_steps
                if self.validate and every and self.step % every == 0:
                    self._validate(log, time.monotonic() - begin, loader.problems)
                if stop:
                    break
        self.wall_seconds += time.monotonic() - begin
        if log:
            log.close()
        return self.step == self.num_steps

    def update(self, loader) -> None:
        """One update. No line of it waits for the device."""
        plan, accumulate = self.plan, self.plan.accumulate
        set_learning_rate(
            self.optimizer,
            learning_rate(self.step, num_steps=self.num_steps, lr=plan.peak_lr, warmup=plan.warmup),
        )
        self.optimizer.zero_grad(set_to_none=True)
        for micro_step in range(self.step * accumulate, (self.step + 1) * accumulate):
            batch = next(loader)
            torch.manual_seed(step_seed(plan.seed, micro_step, self.ranks.rank))  # dropout's
            is_last = micro_step == (self.step + 1) * accumulate - 1
            with self._gradients_exchanged(is_last):
                with self.runtime.autocast():
                    loss, terms = self.parallel(
                        batch, unlabeled_weight=self._unlabeled_weight(), progress=self.step / self.num_steps
                    )
                (loss / accumulate).backward()
            self.sums.add({"loss": loss.detach(), **terms})
        if plan.clip_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), plan.clip_gradient_norm)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.method)

    def _unlabeled_weight(self) -> float:
        """lambda, or 0 before the unlabeled losses are switched on."""
        delayed = self.step < self.plan.unlabeled_delay * self.num_steps
        return 0.0 if delayed else self.plan.unlabeled_weight

    def _gradients_exchanged(self, is_last: bool):
        """Ranks exchange gradients once a step, with the last micro-step."""
        waiting = self.ranks.num_ranks > 1 and not is_last
        return self.parallel.no_sync() if waiting else contextlib.nullcontext()

    def _report(self, log: MetricsLog | None, loader, seconds: float, waited: float, num_steps: int) -> None:
        """Reads the sums, once, and tells the log and the reporter."""
        plan = self.plan
        metrics = self.sums.means() | {"wait_share": waited / seconds}
        metrics = with_precision(mean_over_ranks(metrics, self.runtime.device))
        per_step = (plan.num_labeled + loader.num_unlabeled) * plan.accumulate * self.ranks.num_ranks
        metrics["videos_per_second"] = per_step * num_steps / seconds
        metrics["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        if not math.isfinite(metrics["loss"]):
            raise InputError(
                f"loss: received {metrics['loss']} by step {self.step}: training diverged; a lower optim.lr "
                f"than {plan.lr} may do"
            )
        if log:
            log.write(self.step, metrics)
            left = seconds / num_steps * (self.num_steps - self.step)
            report = StepReport(step=self.step, num_steps=self.num_steps, metrics=metrics, seconds_left=left)
            self.reporter.step(report)

    def _validate(self, log: MetricsLog | None, seconds: float, problems: dict[str, str]) -> None:
        """Quick validation; the checkpoint of the best is kept."""
        top1 = self.validate(self.evaluated)
        if log:
            log.write(self.step, {"val_top1": top1})
        self.reporter.note(f"step {self.step}: validation top-1 {top1:.1%} (one clip, one crop)")
        if top1 > self.best_top1:
            self.best_top1 = top1
            self._save(seconds, problems, best=True)

    def _save(self, seconds: float, problems: dict[str, str], *, best: bool = False) -> None:
        if self.ranks.is_first:
            state = {
                "wall_seconds": self.wall_seconds + seconds,
                "best_top1": self.best_top1,
                "videos_per_step": self._videos_per_step(),
                "classes": list(self.classes),
            }
            checkpoint = ckpt.Checkpoint(
                step=self.step,
                state=state,
                model=ckpt.module_tensors(self.method),
                optimizer=ckpt.momentum_tensors(self.method, self.optimizer),
                ema=ckpt.module_tensors(self.average) if self.average else {},
            )
            ckpt.save_checkpoint(self.run.checkpoints, checkpoint, best=best)
            self.run.write_problems(self.run.problems() | problems)
        wait_for_all()

    def _resume(self) -> None:
        """Takes up the last good checkpoint, if there is one."""
        found, complaints = ckpt.last_good_checkpoint(self.run.checkpoints)
        for line in complaints:
            self.reporter.note(line)
        if found is None:
            return
        if found.state["videos_per_step"] != self._videos_per_step():
            raise InputError(
                f"{self.run.path}: went on with {found.state['videos_per_step']} videos a step, now "
                f"{self._videos_per_step()} (ranks x batch x accumulate); accepted: the same number"
            )
        source = f"{self.run.checkpoints}/step-{found.step:08d}"
        ckpt.load_into(self.method, found.model, source=source)
        ckpt.load_momentum(self.method, self.optimizer, found.optimizer)
        if self.average:
            ckpt.load_into(self.average, found.ema, source=source)
        self.step, self.best_top1 = found.step, found.state["best_top1"]
        self.wall_seconds = found.state["wall_seconds"]
        self.reporter.note(f"going on from step {self.step} of {self.num_steps}")

    def _videos_per_step(self) -> list[int]:
        """Labeled and unlabeled videos of one step, over all ranks: what the order of samples hangs on."""
        passes = self.plan.accumulate * self.ranks.num_ranks
        return [self.plan.num_labeled * passes, self.plan.num_unlabeled * passes]

    def _asked_to_stop(self, *, synced: bool) -> bool:
        """Whether to stop after this step: all ranks together, where they meet anyway."""
        if self.ranks.num_ranks == 1:
            return self.stop_asked
        return any_rank(self.stop_asked, self.runtime.device) if synced else False

    @contextlib.contextmanager
    def _signals(self):
        """SIGTERM and Ctrl-C end training after the current step; a second one ends it at once."""

        def ask(number: int, frame) -> None:
            if self.stop_asked:
                raise KeyboardInterrupt
            self.stop_asked = True
            self.reporter.note("stopping after this step, with a checkpoint; once more to stop at once")

        try:
            before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # not the main thread: whoever called has the signals
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def prepared(method: Method, plan: TrainingPlan, runtime: Runtime, ranks: Ranks) -> Method:
    """The method on its device, with SyncBN and compilation where asked. (Models lay out their own weights.)"""
    if plan.sync_batch_norm and ranks.num_ranks > 1:
        method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
    method = method.to(runtime.device)
    if plan.compile:
        for network in {method.primary, method.auxiliary} - {None}:
            network.compile()
    return method.train()


def averaged(method: Method, decay: float) -> AveragedModel | None:
    """The exponential moving average of the method's weights and buffers, or None for decay 0."""
    if decay == 0:
        return None
    return AveragedModel(method, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def step_seed(seed: int, micro_step: int, rank: int) -> int:
    """A seed for torch's generator, of (run, micro-step, rank): dropout, too, is a function of the position."""
    return (seed * 1_000_003 + micro_step) * 1_009 + rank
