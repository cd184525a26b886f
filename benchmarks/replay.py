"""A source that gives samples from memory again and again, in place of reading and decoding."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.loading.sample import Media, Sample
from pipelines.loading.source import SampleInfo
from pipelines.plan.planner import Planner


@dataclass(eq=False, kw_only=True)
class ReplaySource:
    """The same batch over and over; `samples` (B) may be exchanged between batches."""

    planner: Planner
    media: Media
    batch_size: int
    samples: Sequence[Sample] = field(default_factory=list)

    @property
    def view_shapes(self) -> tuple[tuple[int, ...], ...]:
        """(F, S, S, 3) of each view, where the samples are finished views."""
        return tuple(view.shape for view in self.samples[0].media)

    def __call__(self, info: SampleInfo) -> tuple[np.ndarray, ...]:
        return self.sample_at(info.iteration, info.idx_in_batch).as_arrays()

    def sample_at(self, iteration: int, place: int) -> Sample:
        """The sample at a place of every batch."""
        return self.samples[place]

    def path_at(self, iteration: int, place: int) -> str:
        """The path of its video."""
        return self.planner.pool.paths[self.samples[place].ids.video]
