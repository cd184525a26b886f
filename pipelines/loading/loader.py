"""Loaders: batches of a plan, handed to torch. Their position is the micro-step.

Legend: B videos of a batch, N clips, M crops, T frames of a clip, S crop side.
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch
from pipelines.catalog.dataset import Dataset
from pipelines.errors import InputError
from pipelines.loading.batches import batches_of
from pipelines.loading.engine import Engine
from pipelines.loading.setup import engine_on, place_in_group
from pipelines.loading.source import EvaluationSource, TrainSource
from pipelines.loading.who_decodes import settled
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from pipelines.plan.rand_augment import StrongSpec
from pipelines.problems import add_problems
from pipelines.ranges import range_of


class Closing:
    """A loader that ends its processes by `close()`, or at the end of a `with` block."""

    def close(self) -> None:
        """Ends the loader's processes. The batches that it gave stay valid."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StreamLoader(Closing):
    """One stream of one rank: batches of tensors, and what was set aside on the way."""

    def __init__(self, source: TrainSource, *, engine: Engine, problems: dict[str, str] | None = None) -> None:
        self.problems = {} if problems is None else problems  # path -> reason; streams of one loader share them
        self.positions: list[int] = []  # of the last batch
        self.videos: list[int] = []  # of the last batch, as indices into the pool
        self._batches = batches_of(source, engine=engine)

    def __next__(self) -> tuple[list[Tensor], Tensor]:
        """The clips of one batch, each (B, 3, T, S, S) uint8, and its labels (B,) int64 on the same device."""
        views, ids, problems = self._batches.next()
        add_problems(self.problems, problems)
        self.positions, self.videos = ids[:, 0].tolist(), ids[:, 1].tolist()
        with range_of("loader: hand-off"):
            clips = [clips_of(view) for view in views]
            return clips, on_device(torch.from_numpy(ids[:, 2].copy()), clips[0].device)

    def close(self) -> None:
        """Ends the stream's processes."""
        self._batches.close()


class SemiLoader(Closing):
    """One rank's SemiBatches: pairs the labeled and the unlabeled stream.

    `next(loader)` never ends; `for batch in loader` goes to the end of the epoch, which is `len(loader)` batches: the
    fewest that show every unlabeled video once. Position is the micro-step alone, so `state_dict` is small, and taking
    up at any step gives the batches that would have come. Processes start with the first batch.

    labeled, unlabeled: the plans; None for a supervised method. num_labeled, num_unlabeled: this rank's videos of a
    batch. first_unlabeled: the micro-step from which unlabeled videos are wanted; batches before it hold none, and
    nothing is decoded for them. `wait_seconds` is the time that the loader has kept its caller waiting.
    Raises InputError where the plans differ in geometry.
    """

    def __init__(
        self,
        *,
        labeled: Planner,
        unlabeled: Planner | None,
        num_labeled: int,
        num_unlabeled: int,
        engine: Engine,
        first_micro_step: int = 0,
        first_unlabeled: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        if unlabeled is not None and unlabeled.geometry != labeled.geometry:
            raise InputError(f"geometry: received {labeled.geometry} and {unlabeled.geometry}; accepted: one for both")
        for name, number in (("num_labeled", num_labeled), ("num_unlabeled", num_unlabeled)):
            if number < 1:
                raise InputError(f"{name}: received {number}; accepted: 1 or more videos a batch")
        self.wait_seconds = 0.0
        self.num_labeled = num_labeled
        self.num_unlabeled = num_unlabeled if unlabeled else 0
        self.micro_step = first_micro_step
        self.first_unlabeled = first_unlabeled
        self.rank, self.num_ranks = rank, num_ranks
        self._plans, self._engine = (labeled, unlabeled), engine
        self._streams: list[StreamLoader] = []
        self.problems: dict[str, str] = {}
        """Videos set aside so far on this rank, or shown though they are damaged: path -> reason."""

    @classmethod
    def from_dataset(
        cls,
        data: Dataset,
        *,
        clips: tuple[str, str | None] = ("8x8", "16x4"),
        batch: tuple[int, int] = (2, 10),
        device: str = "auto",
        workers: int | None = None,
        seed: int = 0,
        crop_size: int = 224,
        max_offset_seconds: float = 10.0,
        geometry: Geometry | None = None,
        strong: StrongSpec | None = None,
        prefetch_batches: int = 2,
        rank: int | None = None,
        num_ranks: int | None = None,
    ) -> "SemiLoader":
        """A loader of an opened data set, ready for a loop of one's own.

        clips: FRAMESxSTRIDE of both networks; None: one network. batch: labeled and unlabeled videos of one rank.
        device: auto, cpu, cuda or cuda:N; on a GPU, NVDEC decodes and DALI makes the views. workers: processes
        (default: by the machine's cores); 0: none but this one. crop_size: S; short sides keep the paper's proportions.
        max_offset_seconds: t_s. geometry: in place of clips, crop_size and max_offset_seconds. rank, num_ranks:
        default to torchrun's. In a script, keep the loop under `if __name__ == "__main__":`, as workers are spawned.
        Raises InputError for what cannot be.
        """
        if geometry is None:
            geometry = geometry_of(clips, crop_size=crop_size, max_offset_seconds=max_offset_seconds)
        place = place_in_group(rank, num_ranks)

        def plan(stream: Stream) -> Planner:
            return Planner(
                pool=data.labeled_pool() if stream == Stream.LABELED else data.unlabeled_pool(),
                seed=seed,
                stream=stream,
                geometry=geometry,
                strong=strong or StrongSpec(),
                horizontal_flip=data.annotations.horizontal_flip,
            )

        return cls(
            labeled=plan(Stream.LABELED),
            unlabeled=plan(Stream.UNLABELED),
            num_labeled=batch[0],
            num_unlabeled=batch[1],
            engine=engine_on(device, workers=workers, prefetch_batches=prefetch_batches, local_rank=place.local_rank),
            rank=place.rank,
            num_ranks=place.num_ranks,
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        labeled, unlabeled = self._plans
        pool, size = (labeled.pool, self.num_labeled) if unlabeled is None else (unlabeled.pool, self.num_unlabeled)
        return -(-len(pool) // (size * self.num_ranks))

    def __iter__(self) -> Iterator[SemiBatch]:
        """The batches up to the end of the epoch that the next one belongs to."""
        for _ in range(len(self) - self.micro_step % len(self)):
            yield next(self)

    def __next__(self) -> SemiBatch:
        if not self._streams:
            self.start()
        begin = time.perf_counter()
        with range_of("loader: labeled batch"):
            views, labels = next(self.labeled)
        batch = SemiBatch(
            labeled=LabeledBatch(standard=clip_batch(views), labels=labels), unlabeled=self._next_unlabeled()
        )
        self.wait_seconds += time.perf_counter() - begin
        self.micro_step += 1
        return batch

    def _next_unlabeled(self) -> UnlabeledBatch | None:
        if self.unlabeled is None or self.micro_step < self.first_unlabeled:
            return None
        with range_of("loader: unlabeled batch"):
            views, truth = next(self.unlabeled)
        half = len(views) // 2
        return UnlabeledBatch(
            weak=clip_batch(views[:half]),
            strong=clip_batch(views[half:]),
            truth=truth,
            videos=tuple(self.unlabeled.videos),
        )

    @property
    def labeled(self) -> StreamLoader:
        """The labeled stream, once started."""
        return self._streams[0]

    @property
    def unlabeled(self) -> StreamLoader | None:
        """The unlabeled stream, once started; None for a supervised method."""
        return self._streams[1] if len(self._streams) > 1 else None

    def start(self) -> Self:
        """Starts the processes; the first batch does it where nobody did."""
        labeled, unlabeled = self._plans
        seen = (labeled, self.num_labeled) if unlabeled is None else (unlabeled, self.num_unlabeled)
        self._engine = self._settled(*seen)
        engines = [self._engine]
        if unlabeled is not None:
            shares = shared_workers(self._engine.num_workers, self.num_labeled, self.num_unlabeled)
            engines = [dataclasses.replace(self._engine, num_workers=share) for share in shares]
        sizes = (self.num_labeled, self.num_unlabeled)
        firsts = (self.micro_step, max(self.micro_step, self.first_unlabeled))
        for plan, size, first, engine in zip((labeled, unlabeled), sizes, firsts, engines, strict=False):
            assert plan is not None
            source = TrainSource(
                planner=plan,
                media=engine.media,
                batch_size=size,
                first_micro_step=first,
                rank=self.rank,
                num_ranks=self.num_ranks,
                held_bytes=engine.held_mib << 20,
            )
            # A video is one thread's work: a stream has no use for more threads than videos.
            engine = dataclasses.replace(engine, num_threads=min(engine.num_threads, size))
            self._streams.append(StreamLoader(source, engine=engine, problems=self.problems))
        return self

    def _settled(self, plan: Planner, size: int) -> Engine:
        """The engine with who decodes decided, on the videos of a stream."""
        source = TrainSource(planner=plan, media=self._engine.media, batch_size=size, first_micro_step=self.micro_step)
        return settled(source, self._engine)[1]

    def close(self) -> None:
        """Ends the loader's processes. The next batch would start others."""
        for stream in self._streams:
            stream.close()
        self._streams = []

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands, as videos over all ranks, and what the order of videos hangs on."""
        labeled, _ = self._plans
        return {
            "seed": labeled.seed,
            "labeled_position": self.micro_step * self.num_labeled * self.num_ranks,
            "unlabeled_position": self.micro_step * self.num_unlabeled * self.num_ranks,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes on where the state was taken, also with another number of ranks.

        Raises InputError for another seed, and where the position is none of this loader's batches.
        """
        labeled, _ = self._plans
        if state["seed"] != labeled.seed:
            raise InputError(f"seed: received a state of seed {state['seed']}; accepted: {labeled.seed}, the loader's")
        per_step = self.num_labeled * self.num_ranks, self.num_unlabeled * self.num_ranks
        micro_step, rest = divmod(state["labeled_position"], per_step[0])
        if rest or micro_step * per_step[1] != state["unlabeled_position"]:
            raise InputError(
                f"batch: received a state after {state['labeled_position']} labeled and {state['unlabeled_position']} "
                f"unlabeled videos; accepted: multiples of {per_step[0]} and {per_step[1]}, a step's over all ranks"
            )
        self.close()
        self.micro_step = micro_step


class EvaluationBatch(NamedTuple):
    """Some videos, all clips and crops of each."""

    videos: list[int]  # (V,) pool indices
    labels: list[int]  # (V,) classes
    clips: tuple[Tensor, ...]  # for each shape (V, N * M, 3, T, S, S) uint8


class EvaluationLoader(Closing):
    """One rank's share of a pool, every clip and crop of every video, once.

    Gives the videos that decoded; `problems` names the others.
    """

    def __init__(self, source: EvaluationSource, *, engine: Engine) -> None:
        self.problems: dict[str, str] = {}  # path -> reason
        self.num_videos = len(source.pool)
        source, engine = settled(source, engine)
        self._source = source
        self._num_own = len(range(source.rank, self.num_videos, source.num_ranks))
        self._batches = batches_of(source, engine=engine)

    def __iter__(self) -> Iterator[EvaluationBatch]:
        for first in range(0, self._num_own, self._source.batch_size):
            crops, ids, problems = self._batches.next()
            add_problems(self.problems, problems)
            # The last batch is filled up from the front; a stand-in is not counted.
            rows = [i for i, stands_in in enumerate(ids[: self._num_own - first, 3].tolist()) if not stands_in]
            if rows:
                chosen = [crop if len(rows) == len(crop) else crop[rows] for crop in crops]
                clips = tuple(self._clips(chosen, network) for network in range(len(self._source.shapes)))
                yield EvaluationBatch(ids[rows, 0].tolist(), ids[rows, 2].tolist(), clips)

    def _clips(self, crops: list[Tensor], network: int) -> Tensor:
        """All views of one network (V, N * M, 3, T, S, S); a crop (V, F, S, S, 3) holds all clips of all shapes."""
        shapes, num_clips = self._source.shapes, self._source.num_clips
        first = num_clips * sum(shape.num_frames for shape in shapes[:network])
        num_frames = shapes[network].num_frames
        views = [
            crop[:, first : first + num_clips * num_frames].unflatten(1, (num_clips, num_frames)) for crop in crops
        ]
        return torch.cat(views, dim=1).permute(0, 1, 5, 2, 3, 4)

    def close(self) -> None:
        """Ends the loader's processes."""
        self._batches.close()


def geometry_of(clips: tuple[str, str | None], *, crop_size: int, max_offset_seconds: float) -> Geometry:
    """The geometry of clips written as FRAMESxSTRIDE, short sides in the paper's proportions (256 to 320 : 224)."""
    primary, auxiliary = clips
    short_side, largest = (round(crop_size * side / 224) for side in (256, 320))
    return Geometry(
        primary=ClipShape.parse(primary),
        auxiliary=None if auxiliary is None else ClipShape.parse(auxiliary),
        crop_size=crop_size,
        short_side=short_side,
        short_side_jitter=(short_side, largest),
        max_offset_seconds=max_offset_seconds,
    )


def shared_workers(num_workers: int, num_labeled: int, num_unlabeled: int) -> tuple[int, int]:
    """Workers of the labeled and of the unlabeled stream, by their batches; at least one each, unless there are
    none at all."""
    if num_workers == 0:
        return 0, 0
    for_labeled = max(1, round(num_workers * num_labeled / (num_labeled + num_unlabeled)))
    return for_labeled, max(1, num_workers - for_labeled)


def clip_batch(views: list[Tensor]) -> ClipBatch:
    """One view of the primary network, of the auxiliary one and of their flow, as far as there are such."""
    fields: dict[str, Any] = dict(zip(("primary", "auxiliary", "flow"), views, strict=False))
    return ClipBatch(**fields)


def clips_of(view: Tensor) -> Tensor:
    """The hand-off: (B, T, S, S, 3) as (B, 3, T, S, S) in channels_last_3d, without a copy."""
    return view.permute(0, 4, 1, 2, 3)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A small host tensor on the clips' device, without waiting for it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values
