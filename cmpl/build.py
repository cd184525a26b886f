"""The only composition root: configuration -> objects, by the names of the registries."""

import functools
from dataclasses import fields, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from cmpl.config import Config, NetworkConfig
from cmpl.methods.method import Method
from cmpl.models.backbone import Backbone, checked_backbone
from cmpl.registries import BACKBONES, method_class
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import Runtime
from pipelines.catalog.dataset import Dataset, probed
from pipelines.catalog.pool import Pool
from pipelines.datasets.annotations import Annotations, HoldOut, ListOptions, ReadOptions
from pipelines.datasets.labeled_subset import subset_of
from pipelines.datasets.registry import read_dataset, read_unlabeled
from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.loading.loader import EvaluationLoader, SemiLoader
from pipelines.loading.sample import Media
from pipelines.loading.source import EvaluationSource
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from pipelines.plan.rand_augment import RAND_AUGMENT_OPS, StrongSpec
from pipelines.progress import Progress, no_progress


def annotations_of(config: Config, *, progress: Progress = no_progress) -> Annotations:
    """The data set `data.dataset`, with the training videos of `data.unlabeled` as its unlabeled ones."""
    data = config.data
    options = ReadOptions(
        official_split=data.official_split,
        max_missing_share=data.max_missing_share,
        lists=ListOptions(path_column=data.path_column, label_column=data.label_column, outside_root=data.outside_root),
        hold_out=HoldOut(share=data.val, seed=data.val_seed, groups=data.groups),
        progress=progress,
    )
    annotations = read_dataset(data.dataset, Path(data.root) if data.root else None, options)
    if data.unlabeled is None:
        return annotations
    if annotations.unlabeled is not None:
        raise InputError(
            f"data.unlabeled: received {data.unlabeled!r}, but {annotations.name} has unlabeled videos of its own in "
            f"{annotations.unlabeled.root}; accepted: one of the two"
        )
    root = data.unlabeled_root or data.root
    return replace(annotations, unlabeled=read_unlabeled(data.unlabeled, Path(root) if root else None, options))


def labels_drawn(config: Config, annotations: Annotations, *, usable: np.ndarray | None = None) -> np.ndarray:
    """Ascending indices (int64) of the labeled videos of the training list, as `data.labeled` has it.

    `usable` (N,) bool says which videos may be drawn; by default those that are not absent.
    """
    train = annotations.train
    if usable is None:
        usable = np.ones(len(train), dtype=bool)
        usable[list(train.absent)] = False
    return subset_of(
        annotations,
        config.data.labeled,
        dataset=config.data.dataset,
        split_seed=config.data.split_seed,
        scheme=config.data.split_scheme,
        usable=usable,
    )


def open_data(config: Config, *, progress: Progress = no_progress) -> Dataset:
    """Reads the lists, probes what is new, draws the labeled subset. Raises InputError for whatever does not fit."""
    annotations = annotations_of(config, progress=progress)

    def draw(usable: np.ndarray) -> np.ndarray:
        return labels_drawn(config, annotations, usable=usable)

    return probed(annotations, draw=draw, progress=progress)


def unlabeled_pool(config: Config, data: Dataset) -> Pool:
    """All training videos, without their labels, and the data set's own unlabeled ones."""
    return data.unlabeled_pool(with_labeled=config.data.labeled_in_unlabeled)


def geometry_of(config: Config) -> Geometry:
    """What is shown of a video: the primary's clip, and a second one where the method asks for it."""
    clip, kind = config.clip, method_class(config.method.name)
    primary = ClipShape.parse(clip.primary)
    return Geometry(
        primary=primary,
        auxiliary=kind.auxiliary_shape(primary, ClipShape.parse(clip.auxiliary)),
        crop_size=clip.crop_size,
        short_side=clip.short_side,
        short_side_jitter=clip.short_side_jitter,
        max_offset_seconds=clip.max_offset_seconds if kind.offsets_auxiliary_clip else 0.0,
        flow=config.method.wants_flow,
        start_multiple=clip.start_multiple,
        short_videos=clip.short_videos,
    )


def planners(config: Config, data: Dataset) -> tuple[Planner, Planner]:
    """The plans of the labeled and of the unlabeled stream."""
    clip, flip = config.clip, config.data.horizontal_flip
    make = functools.partial(
        Planner,
        seed=config.seed,
        geometry=geometry_of(config),
        strong=StrongSpec(
            ops=clip.strong_ops or RAND_AUGMENT_OPS,
            num_ops=clip.strong_num_ops,
            magnitude=clip.strong_magnitude,
            cutout_fraction=clip.cutout_fraction,
        ),
        horizontal_flip=data.annotations.horizontal_flip if flip is None else flip,
    )
    return (
        make(pool=data.labeled_pool(), stream=Stream.LABELED),
        make(pool=unlabeled_pool(config, data), stream=Stream.UNLABELED),
    )


def engine_of(config: Config, runtime: Runtime) -> Engine:
    """How the graphs are run. Views are made where they are wanted: on the GPU, or by the workers."""
    of_decoded = Media.VIEWS if runtime.device_index is None else Media.FRAMES
    return Engine(
        media=of_decoded if runtime.backend == "cpu" else Media.CUTS,
        cpu_share=None if runtime.backend == "both" else 0.0,
        device_index=runtime.device_index,
        num_workers=runtime.num_workers,
        num_threads=runtime.loader_threads,
        prefetch_batches=config.runtime.prefetch,
        held_mib=config.runtime.held_mib,
    )


def loader_of(
    config: Config,
    plans: tuple[Planner, Planner],
    *,
    runtime: Runtime,
    ranks: Ranks,
    first_micro_step: int,
    first_unlabeled: int = 0,
) -> SemiLoader:
    """The training loader of one rank, from a micro-step on; with unlabeled videos from `first_unlabeled` on."""
    labeled, unlabeled = plans
    return SemiLoader(
        labeled=labeled,
        unlabeled=unlabeled if method_class(config.method.name).uses_unlabeled else None,
        num_labeled=config.batch.labeled,
        num_unlabeled=config.batch.unlabeled,
        engine=engine_of(config, runtime),
        first_micro_step=first_micro_step,
        first_unlabeled=first_unlabeled,
        rank=ranks.rank,
        num_ranks=ranks.num_ranks,
    ).start()


def evaluation_loader_of(
    config: Config, pool: Pool, *, runtime: Runtime, ranks: Ranks, clips: int, crops: int
) -> EvaluationLoader:
    """The evaluation loader of one rank over a pool; the networks' shapes in the order primary, auxiliary."""
    geometry = geometry_of(config)
    if not method_class(config.method.name).has_auxiliary_network:
        geometry = replace(geometry, auxiliary=None, flow=False)
    engine, size = engine_of(config, runtime), config.evaluation.short_side
    num_pixels = clips * geometry.num_frames * crops * size * size
    source = EvaluationSource(
        pool=pool,
        shapes=geometry.shapes,
        short_videos=geometry.short_videos,
        num_clips=clips,
        num_crops=crops,
        crop_size=size,
        media=engine.media,
        batch_size=min(evaluated_at_once(num_pixels, engine), -(-len(pool) // ranks.num_ranks)),
        rank=ranks.rank,
        num_ranks=ranks.num_ranks,
    )
    return EvaluationLoader(source, engine=engine)


def evaluated_at_once(num_pixels: int, engine: Engine) -> int:
    """Videos of an evaluation batch, whose views have `num_pixels` each: few fit a machine's memory.

    On a GPU at least 8: DALI decodes one video a thread, and NVDEC has up to 7 engines.
    """
    least = 1 if engine.device_index is None else 8
    return min(16, max(least, 2**24 // num_pixels))


def network_of(config: NetworkConfig, *, num_classes: int, field: str = "primary") -> Backbone:
    """A backbone with its head, checked once. `field` is the configuration's section, for messages."""
    builder = BACKBONES.get(config.architecture, field=f"{field}.architecture")
    try:
        network = builder(config, num_classes=num_classes)
    except InputError as error:
        if str(error).partition(":")[0] in {item.name for item in fields(config)}:
            raise InputError(f"{field}.{error}") from error
        raise
    return checked_backbone(network, num_classes=num_classes, field=f"{field}.architecture={config.architecture}")


def method_of(config: Config, *, num_classes: int) -> Method:
    """The method with freshly initialized networks, the same for the same seed, on any rank."""
    kind = method_class(config.method.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        networks = {"primary": network_of(config.primary, num_classes=num_classes)}
        if kind.has_auxiliary_network and config.method.shares_networks:
            networks["auxiliary"] = networks["primary"]
        elif kind.has_auxiliary_network:
            networks["auxiliary"] = network_of(config.auxiliary, num_classes=num_classes, field="auxiliary")
        return kind(**networks, settings=config.method)


def networks_of(method: Method) -> dict[str, nn.Module]:
    """The networks that are evaluated, the primary first."""
    networks = {"primary": method.primary, "auxiliary": method.auxiliary}
    return {name: cast(nn.Module, network) for name, network in networks.items() if network is not None}
