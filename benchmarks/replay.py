"""A source that gives samples from memory again and again, in place of reading and decoding."""

from dataclasses import dataclass, field

from pipelines.loading.sample import Sample
from pipelines.loading.source import TrainSource


@dataclass(frozen=True, eq=False, kw_only=True)
class ReplaySource(TrainSource):
    """The same batch over and over; what the list `batch` (B) holds may be exchanged between batches."""

    batch: list[Sample] = field(default_factory=list)

    def sample_at(self, iteration: int, place: int) -> Sample:
        """The sample at a place of every batch."""
        return self.batch[place]

    def path_at(self, iteration: int, place: int) -> str:
        """The path of its video."""
        return self.pool.paths[self.batch[place].ids.video]
