"""A trace of a few steps by torch.profiler, with the loader's stages and the step's parts as ranges."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from pipelines.ranges import ranges_made_by

NUM_SKIPPED, NUM_TRACED = 2, 3
"""Steps before the trace, which start processes and warm caches, and steps in it."""


@contextlib.contextmanager
def step_trace(file: Path, *, note: Callable[[str], None], num_steps: int) -> Iterator[Callable[[], None]]:
    """Traces some of the next `num_steps` steps into a file for Perfetto. Yields what is to be called after each step.

    A shorter training is traced in its last steps. Ranges of other processes, which are workers, are not in it.
    Where the file cannot be written, that is said, and training goes on.
    """
    skipped = min(NUM_SKIPPED, num_steps - 1)
    traced = min(NUM_TRACED, num_steps - skipped)

    def write(done: profile) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            done.export_chrome_trace(str(file))
        except (OSError, RuntimeError) as error:
            note(f"{file}: no trace was written ({error}); training goes on")
            return
        note(f"trace of {traced} steps: {file}; open it in https://ui.perfetto.dev, which keeps it on this machine")

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Profiler won't be using warmup")  # of a training of one step
        plan = schedule(wait=max(0, skipped - 1), warmup=min(1, skipped), active=traced, repeat=1)
    with (
        ranges_made_by(record_function),
        profile(activities=activities, schedule=plan, on_trace_ready=write) as profiler,
    ):
        yield profiler.step
