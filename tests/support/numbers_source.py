"""A source of batches for workers. They import this module, so it imports little: no torch, which takes seconds."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import LoaderError
from pipelines.loading.sample import Ids, Sample


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A source whose views tell where they belong. At `deadly` a worker dies while the file `trap` is there."""

    batch_size: int = 5
    deadly: int | None = None
    trap: str | None = None
    failing: int | None = None
    refused: int | None = None
    stalled: int | None = None  # at which a worker waits for ever, once
    made: str | None = None  # a file that gets a line for each sample made

    @property
    def view_shapes(self) -> tuple[tuple[int, ...], ...]:
        return (2, 3, 3, 3), (4, 3, 3, 3)

    def sample_at(self, iteration: int, place: int) -> Sample:
        number = iteration * self.batch_size + place
        if number == self.deadly and self.trap is not None and Path(self.trap).exists():
            if Path(self.trap).read_text() == "once":
                Path(self.trap).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.stalled and self.trap is not None and Path(self.trap).exists():
            Path(self.trap).unlink()
            time.sleep(3600)
        if self.made is not None:
            with open(self.made, "a") as file:
                file.write(f"{number}\n")
        if number == self.refused:
            raise LoaderError("no video decodes")
        if number == self.failing:
            raise ZeroDivisionError("nothing to be done")
        views = tuple(np.full(shape, (number + k) % 256, dtype=np.uint8) for k, shape in enumerate(self.view_shapes))
        problems = ((f"{number}.mp4", "broken"),) if number % 7 == 3 else ()
        return Sample(views, None, Ids(number=number, video=number % 4, label=-1), problems)

    def path_at(self, iteration: int, place: int) -> str:
        return f"{iteration * self.batch_size + place}.mp4"


@dataclass(frozen=True, kw_only=True)
class SlowToStart(Numbers):
    """Workers take a second until they have read it."""

    def __setstate__(self, state: dict) -> None:
        time.sleep(1)
        self.__dict__.update(state)
