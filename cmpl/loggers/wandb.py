"""Metrics for Weights & Biases. WANDB_MODE=offline keeps them on this machine; `wandb sync` sends them later."""

import os
import uuid
from collections.abc import Mapping
from typing import Any

from cmpl.loggers.logger import LoggedRun

PROJECT = "cmpl"
"""The project's name, where WANDB_PROJECT gives none."""
ID_FILE = "wandb-id"


class WandbLogger:
    """Logs a run under one id, kept in its folder, however often it was stopped.

    The environment's variables of wandb count: WANDB_PROJECT, WANDB_MODE, WANDB_ENTITY. Raises ImportError where wandb
    is not installed.
    """

    def __init__(self) -> None:
        import wandb

        self._wandb = wandb
        self._run: Any = None
        self._is_finished = False

    def begin(self, run: LoggedRun) -> str:
        file = run.path / ID_FILE
        if not file.exists():
            file.write_text(uuid.uuid4().hex[:16])
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=file.read_text().strip(),
            name=run.path.name,
            dir=str(run.path),
            config=dict(run.config),
            resume="allow",
            settings=self._wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        is_offline = bool(self._run.settings._offline)
        return f"Weights & Biases ({f'offline, {self._run.dir}' if is_offline else self._run.url})"

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log({"step": step, **metrics})

    def finish(self, scores: Mapping[str, float]) -> None:
        self._run.summary.update(dict(scores))
        self._is_finished = True

    def close(self) -> None:
        self._run.finish(exit_code=0 if self._is_finished else 1)
