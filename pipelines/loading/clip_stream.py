"""One plain stream of clips and labels, for a PyTorch or Lightning loop that knows nothing of pairs."""

from collections.abc import Iterator

from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from pipelines.catalog.dataset import Dataset
from pipelines.errors import InputError, nearest
from pipelines.loading.engine import Engine
from pipelines.loading.loader import Closing, StreamLoader, geometry_of
from pipelines.loading.setup import Place, engine_on, place_in_group
from pipelines.loading.source import TrainSource
from pipelines.loading.who_decodes import settled
from pipelines.plan.planner import Planner, Stream

PARTS = ("labeled", "train", "unlabeled")
VIEWS = ("standard", "weak", "strong")


class ClipStream(IterableDataset[tuple[Tensor, Tensor]], Closing):
    """(clips (B, 3, T, S, S) uint8, labels (B,) int64, -1 where unknown), an epoch an iteration, in an order that the
    seed decides.

    It makes whole batches in workers of its own: give it to `DataLoader(stream, batch_size=None)`, or iterate it.
    Each iteration goes on with the next epoch.
    """

    def __init__(self, planner: Planner, *, view: str, batch_size: int, engine: Engine, place: Place) -> None:
        self._planner, self._view, self._batch_size = planner, view, batch_size
        self._engine, self._place = engine, place
        self._stream: StreamLoader | None = None
        self.num_taken = 0  # batches so far: where the stream stands

    @classmethod
    def from_dataset(
        cls,
        data: Dataset,
        *,
        part: str = "labeled",
        view: str = "standard",
        clip: str = "8x8",
        batch: int = 8,
        device: str = "auto",
        workers: int | None = None,
        seed: int = 0,
        crop_size: int = 224,
        rank: int | None = None,
        num_ranks: int | None = None,
    ) -> "ClipStream":
        """A stream over a part of an opened data set: labeled, train (all training videos with labels), or unlabeled
        (all, with what labels there are).

        view: standard (random crop and flip), weak (middle crop) or strong (RandAugment and Cutout). Else as
        `SemiLoader.from_dataset`. Raises InputError for what cannot be.
        """
        for name, value, accepted in (("part", part, PARTS), ("view", view, VIEWS)):
            if value not in accepted:
                raise InputError(f"{name}: received {value!r}{nearest(value, accepted)}")
        if batch < 1:
            raise InputError(f"batch: received {batch}; accepted: 1 or more videos")
        pools = {"labeled": data.labeled_pool, "train": data.train_pool, "unlabeled": data.unlabeled_pool}
        planner = Planner(
            pool=pools[part](),
            seed=seed,
            stream=Stream.LABELED if view == "standard" else Stream.UNLABELED,
            geometry=geometry_of((clip, None), crop_size=crop_size, max_offset_seconds=0.0),
            horizontal_flip=data.annotations.horizontal_flip,
        )
        place = place_in_group(rank, num_ranks)
        engine = engine_on(device, workers=workers, local_rank=place.local_rank)
        return cls(planner, view=view, batch_size=batch, engine=engine, place=place)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-len(self._planner.pool) // (self._batch_size * self._place.num_ranks))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if get_worker_info() is not None:
            raise InputError("num_workers: received a DataLoader with workers; accepted: 0, it has its own")
        for _ in range(len(self) - self.num_taken % len(self)):
            if self._stream is None:
                source, self._engine = settled(self._source(), self._engine)
                self._stream = StreamLoader(source, engine=self._engine)
            clips, labels = next(self._stream)
            self.num_taken += 1
            yield clips[1 if self._view == "strong" else 0], labels

    def _source(self) -> TrainSource:
        return TrainSource(
            planner=self._planner,
            media=self._engine.media,
            batch_size=self._batch_size,
            first_micro_step=self.num_taken,
            rank=self._place.rank,
            num_ranks=self._place.num_ranks,
        )

    def close(self) -> None:
        """Ends the stream's processes. The next iteration would start others."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None
