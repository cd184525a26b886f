"""What a logger is, and the loggers of a run together: where metrics go beside metrics.jsonl."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipelines.errors import InputError
from pipelines.registry import Registry

AUTO, NONE = "auto", "none"
"""`auto`: TensorBoard where it is installed."""


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """What a logger is told of a run as it begins or goes on."""

    path: Path  # the run's folder, which is there
    first_step: int  # metrics of later steps, of before a kill, do not count
    config: dict[str, Any]  # every field, by the key of --set


class Logger(Protocol):
    """Where the metrics of a run go. Names of metrics are grouped: `loss/total`, `validation/top1`.

    Whatever a method raises ends this logger alone: training goes on.
    """

    def begin(self, run: LoggedRun) -> str:
        """Opens it, or goes on with what an earlier call opened. Returns where metrics go, in a few words."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of a step."""

    def finish(self, scores: Mapping[str, float]) -> None:
        """Takes the final scores, as shares of 1: `final/primary_top1`."""

    def close(self) -> None:
        """Ends it, whether the run is finished or not."""


LOGGERS: "Registry[Callable[[], Logger]]" = Registry(
    "logger",
    group="cmpl.loggers",
    built_in={
        "csv": "cmpl.loggers.csv_file:CsvLogger",
        "mlflow": "cmpl.loggers.mlflow:MlflowLogger",
        "tensorboard": "cmpl.loggers.tensorboard:TensorBoardLogger",
        "wandb": "cmpl.loggers.wandb:WandbLogger",
    },
)
register_logger = LOGGERS.register

GROUPS = {
    "loss_": "loss/",
    "pseudo_": "pseudo_labels/",
    "val_": "validation/",
}
OF_SPEED = ("videos_per_second", "wait_share")


def grouped(name: str) -> str:
    """`loss_supervised_primary` -> `loss/supervised_primary`."""
    if name == "loss":
        return "loss/total"
    if name in OF_SPEED:
        return f"speed/{name}"
    for beginning, group in GROUPS.items():
        if name.startswith(beginning):
            return group + name.removeprefix(beginning)
    return f"training/{name}"


def final_scores(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a result.json by their grouped names."""
    scores = {}
    for network in ("primary", "auxiliary"):
        for name, value in result.get(network, {}).items():
            if isinstance(value, int | float):
                scores[f"final/{network}_{name}"] = float(value)
    return scores


@dataclass
class Loggers:
    """The loggers of a run, by name. One that fails is left out, and said so once; training never stops for it."""

    loggers: dict[str, Logger]
    note: Callable[[str], None]
    has_begun: bool = field(default=False, init=False)

    def begin(self, run: LoggedRun) -> None:
        """Opens all, and says where metrics go."""
        if self.has_begun:
            return
        self.has_begun = True
        places = ["metrics.jsonl"]
        for name in list(self.loggers):
            self._each(name, lambda logger: places.append(logger.begin(run)))
        self.note(f"metrics go to {', '.join(places)}")

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hands metrics on; what is no number is left out."""
        named = {grouped(name): value for name, value in metrics.items() if math.isfinite(value)}
        for name in list(self.loggers):
            self._each(name, lambda logger: logger.write(step, named))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Hands the final scores on."""
        scores = final_scores(result)
        for name in list(self.loggers):
            self._each(name, lambda logger: logger.finish(scores))

    def close(self) -> None:
        """Ends all."""
        for name in list(self.loggers) if self.has_begun else ():
            self._each(name, lambda logger: logger.close())

    def _each(self, name: str, call: Callable[[Logger], object]) -> None:
        try:
            call(self.loggers[name])
        except Exception as error:  # a logger's own: of its network, its disk, its version
            del self.loggers[name]
            reason = " ".join(str(error).split())[:200]
            self.note(f"{name}: logs no more ({type(error).__name__}: {reason}); training goes on")


def loggers_of(names: Sequence[str], *, note: Callable[[str], None]) -> Loggers:
    """Makes loggers by name: built in, of a plug-in, or `module:class`.

    Raises InputError for an unknown name, and for one whose package is not installed.
    """
    made: dict[str, Logger] = {}
    for name in dict.fromkeys(names):
        if name == NONE and len(names) > 1:
            raise InputError(f"runtime.loggers: received {', '.join(names)}; accepted: none alone, or names")
        if name == NONE:
            continue
        wanted = "tensorboard" if name == AUTO else name
        try:
            made[wanted] = LOGGERS.get(wanted, field="runtime.loggers")()
        except ImportError as error:
            if name == AUTO:
                continue
            raise InputError(
                f"runtime.loggers: received {name!r}, which is not installed ({error}); accepted: pip install "
                f"'cmpl[{name}]', or another logger"
            ) from error
    return Loggers(loggers=made, note=note)
