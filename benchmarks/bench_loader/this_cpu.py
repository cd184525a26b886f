"""Predicts the whole loader and training on this CPU from its stages alone, and compares with what was measured.

The arithmetic is that of `bench_loader.model`: parts side by side, the slowest counts. So its error here says how much
of a prediction for a GPU can be believed at best: all times are measured here, and only their sum is predicted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.bench_loader.rows import Measured, Row

OF_A_WORKER = ("read", "decode", "augment")
"""Stages that a worker does, one after another."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Seconds a video, predicted and measured, each with its spread (from lower to upper quartiles)."""

    name: str
    limit: str
    """The part that the prediction hangs on: workers, cores, hand-off or step."""
    predicted: float
    predicted_spread: tuple[float, float]
    measured: float
    measured_spread: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Predicted videos a second over measured ones: above 1, the machine is slower than its parts."""
        return self.measured / self.predicted

    def line(self) -> str:
        """In words, as rates."""
        low, high = (1 / seconds for seconds in reversed(self.predicted_spread))
        measured_low, measured_high = (1 / seconds for seconds in reversed(self.measured_spread))
        return (
            f"From the stages alone, {self.name} would give {1 / self.predicted:.3g} videos/s ({low:.3g}-{high:.3g}; "
            f"{self.limit} limit it); measured: {1 / self.measured:.3g} ({measured_low:.3g}-{measured_high:.3g}). "
            f"Predicted over measured: {self.ratio:.2f}."
        )


def compared(m: Measured) -> Iterator[Compared]:
    """Compares the loader and training; nothing where a GPU does part of the work."""
    if m.media != "views":
        return
    for name, with_step in (("loader", False), ("training", True)):
        row = m.rows[name]
        parts = [_parts(m, place, with_step=with_step) for place in range(3)]
        seconds = [max(part.values()) for part in parts]
        yield Compared(
            name=name,
            limit=max(parts[1], key=parts[1].__getitem__),
            predicted=seconds[1],
            predicted_spread=(seconds[0], seconds[2]),
            measured=row.seconds_per_video,
            measured_spread=(row.lower_quartile_seconds, row.upper_quartile_seconds),
        )


def _parts(m: Measured, place: int, *, with_step: bool) -> dict[str, float]:
    """Seconds a video of each part that works beside the others, at the lower quartile (0), median (1) or upper (2)."""

    def wall(name: str) -> float:
        row = m.rows[name]
        return (row.lower_quartile_seconds, row.seconds_per_video, row.upper_quartile_seconds)[place]

    made = sum(wall(name) for name in OF_A_WORKER)
    processor = sum(_cpu_seconds(m.rows[name]) for name in (*OF_A_WORKER, "hand-off"))
    step = wall("trainer, replayed") if with_step else 0.0
    if with_step:
        processor += _cpu_seconds(m.rows["trainer, replayed"])
    if m.num_workers == 0:  # the trainer's own process does one thing after another
        return {"the process's stages": made + wall("hand-off") + step}
    parts = {"workers": made / m.num_workers, "cores": processor / m.num_cores, "hand-off": wall("hand-off")}
    return parts | ({"steps": step + wall("hand-off")} if with_step else {})


def _cpu_seconds(row: Row) -> float:
    return row.cpu_seconds_per_clip * row.clips_per_video
