"""Estimates the memory of a training step from one clip, and splits a batch that does not fit into smaller passes.

The clip is one of torch's `meta` device: shapes without numbers, so that the trial takes neither memory nor time.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cmpl import build
from cmpl.config import BatchConfig, Config
from cmpl.recipes.presets import smaller_than
from cmpl.registries import method_class
from cmpl.training.ranks import Ranks, gather
from cmpl.training.runtime import Runtime
from pipelines.errors import InputError
from pipelines.plan.geometry import ClipShape

COPIES_OF_WEIGHTS = 4
"""Weights, their gradients, momentum, and an average or what a checkpoint is written from."""
OVERHEAD = 1.2
"""What a backward pass needs beside what the forward pass keeps."""
BF16_SHARE = 0.6
"""Share of float32's kept bytes with bf16 autocast: BatchNorm's and the losses' stay float32."""
BYTES_OF_PROGRAM, BYTES_OF_WORKER = 600 << 20, 150 << 20
SURELY = 0.7
"""A batch is refused only where so much of the estimate is not there: an estimate is none to the byte."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes of a training step on one rank."""

    per_labeled: float
    per_unlabeled: float
    fixed: float

    def of(self, batch: BatchConfig) -> float:
        """Bytes of one forward pass of a batch, and what stays."""
        return self.fixed + batch.labeled * self.per_labeled + batch.unlabeled * self.per_unlabeled


def need_of(config: Config, *, num_classes: int, runtime: Runtime) -> Need:
    """What training takes, estimated from one clip of each network."""
    kind, geometry = method_class(config.method.name), build.geometry_of(config)
    with torch.device("meta"):
        networks = build.networks_of(build.method_of(config, num_classes=num_classes))
    shapes = dict(zip(("primary", "auxiliary"), geometry.shapes, strict=False))
    kept = (
        OVERHEAD
        * (BF16_SHARE if runtime.amp else 1.0)
        * sum(kept_bytes(network, shapes[name], size=geometry.crop_size) for name, network in networks.items())
    )
    shown = 3 * geometry.num_frames * geometry.crop_size**2  # bytes of a video's views of one kind
    parameters = {id(p): p.nbytes for network in networks.values() for p in network.parameters()}
    fixed = float(COPIES_OF_WEIGHTS * sum(parameters.values()))
    ahead = 0
    if runtime.device_index is None:
        fixed += BYTES_OF_PROGRAM + runtime.num_workers * BYTES_OF_WORKER
        ahead = config.runtime.prefetch + 2
    for_labeled, for_unlabeled = kind.clips_a_video
    if not config.method.weak_has_gradient:
        for_unlabeled = max(1.0, for_unlabeled / 2)  # weak clips keep nothing
    if not kind.uses_unlabeled:
        for_unlabeled = 0.0
    return Need(
        per_labeled=for_labeled * kept + ahead * shown,
        per_unlabeled=for_unlabeled * kept + 2 * ahead * shown * kind.uses_unlabeled,
        fixed=fixed,
    )


def kept_bytes(network: nn.Module, shape: ClipShape, *, size: int) -> int:
    """Bytes that the forward pass of one clip keeps for the backward pass; parameters apart. `network` is on `meta`."""
    own = {p.untyped_storage()._cdata for p in network.parameters()}
    seen: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = storage.nbytes(), tensor  # held, so that no other takes its number
        return tensor

    clip = torch.empty((1, 3, shape.num_frames, size, size), device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.eval()(clip)  # BatchNorm of one value a channel has no statistics; what is kept is the same
    return sum(num_bytes for num_bytes, _ in seen.values())


def free_bytes(runtime: Runtime, *, num_local_ranks: int) -> int:
    """Memory of the device that is free for one rank."""
    if runtime.device_index is not None:
        return torch.cuda.mem_get_info(runtime.device_index)[0]
    return min(_available(), _left_of_group()) // num_local_ranks


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 1 << 62


def _left_of_group(root: Path = Path("/sys/fs/cgroup")) -> int:
    """What a container's limit leaves (cgroup 2, else 1); very much where there is none."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int((root / limit).read_text()) - int((root / used).read_text()))
        except (OSError, ValueError):  # "max": no limit
            continue
    return 1 << 62


def split_of(batch: BatchConfig, need: Need, *, free: float, crop_size: int) -> int:
    """Into how many forward passes a batch must be split to fit: the fewest that divide it evenly.

    Raises InputError, naming a smaller preset, where even the smallest pass surely does not fit.
    """
    common = math.gcd(batch.labeled, batch.unlabeled)
    factors = [factor for factor in range(1, common + 1) if common % factor == 0]
    for factor in factors:
        if need.of(split(batch, factor)) <= free:
            return factor
    smallest = split(batch, factors[-1])
    if SURELY * need.of(smallest) <= free:
        return factors[-1]
    smaller = smaller_than(crop_size)
    accepted = f"--preset {smaller}, or " if smaller else ""
    raise InputError(
        f"memory: received a batch of {smallest.labeled} labeled + {smallest.unlabeled} unlabeled videos, which takes "
        f"about {_gib(need.of(smallest))} where {_gib(free)} are free; accepted: {accepted}a smaller batch.unlabeled, "
        "clip.crop_size or primary.width"
    )


def split(batch: BatchConfig, factor: int) -> BatchConfig:
    """The same videos a step in `factor` times as many forward passes."""
    return replace(
        batch,
        labeled=batch.labeled // factor,
        unlabeled=batch.unlabeled // factor,
        accumulate=batch.accumulate * factor,
    )


def fitting_split(config: Config, *, num_classes: int, runtime: Runtime, ranks: Ranks) -> tuple[int, str]:
    """The split that fits on every rank, and the reason in words ("" where there is none). Raises as `split_of`."""
    need = need_of(config, num_classes=num_classes, runtime=runtime)
    free = min(gather(free_bytes(runtime, num_local_ranks=ranks.num_local_ranks)))
    factor = split_of(config.batch, need, free=free, crop_size=config.clip.crop_size)
    if factor == 1:
        return 1, ""
    return factor, f"a pass takes about {_gib(need.of(config.batch))} whole, and {_gib(free)} are free"


def no_room_for_pictures(
    config: Config, bytes_a_worker: int, *, num_classes: int, runtime: Runtime, ranks: Ranks
) -> str:
    """Why workers are not to keep so many bytes of decoded pictures: they would take memory that the step needs.

    "" where they may, on every rank, or have none to keep.
    """
    pictures = max(1, runtime.num_workers) * bytes_a_worker
    if runtime.device_index is not None or not pictures:
        return ""
    try:
        need = need_of(config, num_classes=num_classes, runtime=runtime).of(config.batch)
    except (RuntimeError, NotImplementedError):  # a plug-in's network that cannot be tried without numbers
        need = 0.0
    free = min(gather(free_bytes(runtime, num_local_ranks=ranks.num_local_ranks)))
    if need + pictures <= free:
        return ""
    taken = f"{_gib(pictures)} besides {_gib(need)}"
    return f"memory: pictures that workers keep would take {taken}, and {_gib(free)} are free"


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
