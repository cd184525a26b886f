"""What a training would do, without doing it: configuration, data, steps, memory, time, and who decodes.

Nothing is written but what probing keeps of new files in the cache folder, which training would keep, too.
"""

import contextlib
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmpl.config import Config, flattened
from cmpl.memory import free_bytes, need_of
from cmpl.ready import Ready, opened
from cmpl.recipes.cost import SUSTAINED_TFLOPS, multiply_adds, passes_a_video
from cmpl.recipes.registry import base_of
from cmpl.registries import method_class
from cmpl.training.autotune import random_state_kept, timed_steps
from cmpl.training.metrics import mean_over_ranks
from cmpl.training.reporter import Reporter
from cmpl.training.runtime import Runtime
from cmpl.training.switches import settle_switches
from pipelines.catalog.dataset import Dataset
from pipelines.errors import InputError
from pipelines.loading.nvdec import on_cpu
from pipelines.plan.planner import Planner

TRIAL_SECONDS, MOST_STEPS = 15.0, 20
"""A trial of the step takes about so long, after one step that is not counted; at most so many steps."""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a training would do. What cannot be known here is None."""

    path: str
    state: str  # new, going on, or finished
    config: dict[str, Any]  # every field, by the key of --set
    changed: tuple[str, ...]  # fields that differ from the recipe with its preset
    data: dict[str, Any]
    steps: dict[str, Any]
    memory_gib: dict[str, float | None]  # estimated, free, and the trial's peak
    work: dict[str, float]  # estimated from multiply-adds
    time: dict[str, float] | None  # measured by the trial
    decoding: tuple[str, ...]  # in words

    def lines(self) -> list[str]:
        """The same for people, the configuration apart."""
        data, steps, memory = self.data, self.steps, self.memory_gib
        of_class = data["labeled_a_class"]
        lines = [
            f"run: {self.path} ({self.state})",
            f"data: {data['classes']} classes; {data['labeled']} labeled, {of_class[0]} to {of_class[1]} a class; "
            f"{data['unlabeled']} unlabeled, {data['validation']} validation videos; {data['set_aside']} set aside",
            f"steps: {steps['left']} of {steps['total']}, {steps['epochs']:.3g} passes over the unlabeled videos"
            + (f"; validation every {steps['validate_every']} steps" if steps["validate_every"] else ""),
            f"memory: about {memory['estimated']:.2g} GiB a rank, estimated from a clip; {memory['free']:.3g} GiB free",
            f"work: {self.work['petaflop']:.3g} PFLOP in all, from multiply-adds; {self.work['gpu_hours']:.3g} hours "
            f"at {self.work['assumed_tflops']:g} TFLOP/s, which an H100 did in CMPL's step",
        ]
        if self.time is not None:
            lines.append(
                f"time: {_span(self.time['seconds_left'])} of training for the {steps['left']} steps on this machine, "
                f"by {self.time['steps_tried']:.0f} trial steps of {self.time['seconds_a_step']:.3g} s, "
                f"{100 * self.time['wait_share']:.0f} % of it waiting for data; peak {memory['peak']:.2g} GiB; "
                "evaluation not counted"
            )
        return [*lines, *(f"decoding: {line}" for line in self.decoding)]


def dry_run(config: Config, *, path: Path, reporter: Reporter, with_trial: bool = True) -> DryRun:
    """Works out what `session.train` would do, and says on the way what it would say.

    With a trial, some real steps on real batches measure time and memory; their networks are thrown away.
    Raises InputError wherever training would, before its first step.
    """
    with opened(config, path=path, reporter=reporter) as ready:
        free = free_bytes(ready.runtime, num_local_ranks=ready.ranks.num_local_ranks)
        return _worked_out(ready.fitted(), free=free, with_trial=with_trial)


def _worked_out(ready: Ready, *, free: int, with_trial: bool) -> DryRun:
    config, asked, data = ready.config, ready.start.asked, ready.data
    ready.introduce(data.problems())
    first, begun = ready.steps_done(), ready.run.has_begun()
    steps = _steps(ready, first_step=first)
    try:
        estimated = need_of(config, num_classes=ready.num_classes, runtime=ready.runtime).of(config.batch) / 2**30
    except (RuntimeError, NotImplementedError):  # a plug-in's network that cannot be tried without numbers
        estimated = float("nan")
    is_finished = ready.start.result is not None
    tried = None
    if with_trial and not is_finished:
        tried = _trial(ready, first_step=first)
        tried["seconds_left"] = tried["seconds_a_step"] * steps["left"]
    recipe, own = flattened(base_of(asked)), flattened(asked)
    return DryRun(
        path=str(ready.run.path),
        state="finished" if is_finished else f"goes on from step {first}" if begun else "new",
        config=own,
        changed=tuple(key for key, value in own.items() if recipe.get(key) != value),
        data=_counts(data, ready.plans),
        steps=steps,
        memory_gib={"estimated": estimated, "free": free / 2**30, "peak": tried.pop("peak_gib") if tried else None},
        work=_work(config, num_classes=ready.num_classes, num_steps=steps["left"], num_ranks=ready.ranks.num_ranks),
        time=tried,
        decoding=_decoding(data, ready.plans, runtime=ready.runtime),
    )


def _counts(data: Dataset, plans: tuple[Planner, Planner]) -> dict[str, Any]:
    labels = np.bincount(plans[0].pool.labels, minlength=len(data.classes))
    return {
        "classes": len(data.classes),
        "labeled": len(plans[0].pool),
        "labeled_a_class": [int(labels.min()), int(labels.max())],
        "unlabeled": len(plans[1].pool),
        "validation": len(data.evaluation_pool()),
        "set_aside": len(data.problems()),
    }


def _steps(ready: Ready, *, first_step: int) -> dict[str, Any]:
    total, num_unlabeled, plan = ready.schedule.last_step, len(ready.plans[1].pool), ready.plan(uses_unlabeled=True)
    return {
        "total": total,
        "left": total - first_step,
        "videos": list(plan.videos_per_step),
        "epochs": total * plan.videos_per_step[1] / num_unlabeled,
        "learning_rate": plan.peak_lr,
        "validate_every": plan.validate_every_steps,
    }


def _work(config: Config, *, num_classes: int, num_steps: int, num_ranks: int) -> dict[str, float]:
    """The forward and backward passes of the steps that are left."""
    labeled, unlabeled = passes_a_video(config.method)
    passes = (labeled * config.batch.labeled + unlabeled * config.batch.unlabeled) * config.batch.accumulate
    flop = 2 * num_steps * num_ranks * passes * multiply_adds(config, num_classes=num_classes)
    hours = flop / (SUSTAINED_TFLOPS * 1e12) / 3600
    return {"petaflop": flop / 1e15, "gpu_hours": hours, "assumed_tflops": SUSTAINED_TFLOPS}


def _trial(ready: Ready, *, first_step: int) -> dict[str, float]:
    """Some steps of networks that are thrown away: seconds a step, share of waiting, peak of memory."""
    device, kind = ready.runtime.device, method_class(ready.config.method.name)
    switches = settle_switches(ready.config, runtime=ready.runtime, ranks=ready.ranks, method=kind)
    with random_state_kept(device):
        trainer = ready.trial_trainer(switches.decided(compile=switches.compile, cuda_graphs=switches.cuda_graphs))
        # Before the unlabeled losses are switched on, steps take less: the estimate is for those after.
        trainer.step = max(first_step, trainer.plan.first_unlabeled_step)
        with contextlib.closing(trainer.loader_at(trainer.step * trainer.plan.accumulate)) as loader:
            warm, _ = timed_steps(trainer, loader, num_steps=1)
            warm = mean_over_ranks({"seconds": warm}, device)["seconds"]
            number = min(MOST_STEPS, max(1, round(TRIAL_SECONDS / warm)))
            seconds, waited = timed_steps(trainer, loader, num_steps=number)
    return {
        "seconds_a_step": seconds / number,
        "steps_tried": float(number),
        "wait_share": waited / seconds,
        "peak_gib": _peak_bytes(ready.runtime) / 2**30,
    }


def _peak_bytes(runtime: Runtime) -> int:
    """Most memory that this process has held: on the GPU, or in all."""
    if runtime.device_index is not None:
        return torch.cuda.max_memory_allocated(runtime.device_index)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _decoding(data: Dataset, plans: tuple[Planner, Planner], *, runtime: Runtime) -> tuple[str, ...]:
    """Who decodes which videos, in words."""
    pools = {"unlabeled": plans[1].pool, "validation": data.evaluation_pool()}
    if runtime.backend == "cpu":
        who = f"{runtime.num_workers} worker processes" if runtime.num_workers else "the trainer's own process"
        return (f"all videos by {who}, with FFmpeg",)
    lines = []
    for name, pool in pools.items():
        others = on_cpu(pool).lines(pool)
        who = "NVDEC, the workers or both, as a trial finds best" if runtime.backend == "both" else "NVDEC"
        lines.append(f"{name} videos by {who}" + ("" if others else ", all of them"))
        lines += others
    return tuple(lines)


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def check_only_one(*, subsets: int | None, tune_loader: bool) -> None:
    """Raises InputError for options of `cmpl train` that a dry run has no part in."""
    for option, given in (("--subsets", subsets), ("--autotune", tune_loader)):
        if given:
            raise InputError(f"--dry-run: received it with {option}; accepted: one run, as it would begin")
