"""What training says while it runs, and to whom."""

from dataclasses import dataclass

from pipelines.errors import InputError


class OutputClosedError(InputError):
    """Nobody reads what is said any more: a closed pipe or terminal, or a full disk under a log."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Where training stands. `metrics` are means over the steps since the last report."""

    step: int
    num_steps: int
    metrics: dict[str, float]
    seconds_left: float


class Reporter:
    """Hears everything, says nothing; the command line's reporters draw."""

    def note(self, text: str) -> None:
        """One line worth reading once."""

    def step(self, report: StepReport) -> None:
        """Metrics, every `runtime.log_every_steps` steps."""

    def progress(self, done: int, total: int, what: str) -> None:
        """How far a preparation or an evaluation has come."""
