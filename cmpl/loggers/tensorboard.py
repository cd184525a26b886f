"""Metrics for TensorBoard, in groups; the configuration as text, and with the final scores as hyper-parameters."""

from collections.abc import Mapping
from typing import Any

from cmpl.loggers.logger import LoggedRun


class TensorBoardLogger:
    """Writes to `tensorboard/` in the run's folder. Raises ImportError where TensorBoard is not installed."""

    def __init__(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make = SummaryWriter
        self._config: dict[str, Any] = {}

    def begin(self, run: LoggedRun) -> str:
        """Opens a file; what earlier ones hold of later steps is hidden."""
        folder = run.path / "tensorboard"
        self._board = self._make(str(folder), purge_step=run.first_step + 1)
        self._config = run.config
        rows = [f"| `{key}` | {value} |" for key, value in run.config.items()]
        self._board.add_text("configuration", "\n".join(["| field | value |", "| --- | --- |", *rows]), run.first_step)
        return f"TensorBoard ({folder})"

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)

    def finish(self, scores: Mapping[str, float]) -> None:
        from torch.utils.tensorboard.summary import hparams

        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in self._config.items()
        }
        writer = self._board._get_file_writer()
        for summary in hparams(plain, dict(scores)):
            writer.add_summary(summary)
        for name, value in scores.items():
            self._board.add_scalar(name, value)

    def close(self) -> None:
        self._board.close()
