"""Videos that DALI's software decoder and NVDEC take, loaders of them, and the order in which DALI shows its pictures.

There is no stand-in for NVDEC that decodes. DALI has no place where one could be put: its decoder on a GPU is a class
of its own beside the software one. What both inherit, sorting and seeking among frames, runs in the tests with the
software one. What is NVDEC's own and was read in DALI's source is kept from it by rule, and each rule has its test:
hidden pictures (VP9), packets without a picture, fields, sizes beyond its limits. No crop is a matter of the bytes of a
cut, which FFmpeg shows bit by bit. The rest is memory and time, which no stand-in has. So a model of the one thing that
is left, how DALI pairs packets with pictures and sorts them, is enough: `order_on_nvdec`.
"""

import heapq
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pipelines.catalog.pool import Pool
from pipelines.loading.engine import Engine
from pipelines.loading.loader import SemiLoader
from pipelines.plan.geometry import ClipShape, Geometry
from pipelines.plan.planner import Planner, Stream
from tests.support.pools import pool_like
from tests.support.videos import make_video

NUM_BUFFERED = 8
"""Pictures that DALI holds back where a file has no index, as in every cut; then it shows the earliest."""


def order_on_nvdec(times: Sequence[int]) -> list[int]:
    """The order in which DALI would show pictures, by its source, from the times of a file's packets as they lie there.

    The k-th decoded picture gets the time of the k-th packet, and pictures wait in a buffer.
    """
    waiting: list[int] = []
    shown = []
    for time in times:
        heapq.heappush(waiting, time)
        if len(waiting) == NUM_BUFFERED:
            shown.append(heapq.heappop(waiting))
    return shown + sorted(waiting)


def vp9(tmp_path: Path, count: int) -> list[Path]:
    return [make_video(tmp_path / f"{k}.webm", num_frames=80, codec="libvpx-vp9", gop=20, seed=k) for k in range(count)]


def vp9_pool(paths: list[Path], *, num_frames: int, exact_seek: bool = True) -> Pool:
    return pool_like(
        paths,
        labels=np.arange(len(paths)),
        num_frames=num_frames,
        exact_seek=exact_seek,
        codings=("vp9 yuv420p",),
    )


GEOMETRY = Geometry(
    primary=ClipShape(4, 16), auxiliary=ClipShape(8, 8), crop_size=28, short_side=32, short_side_jitter=(32, 40)
)
"""Small clips of both networks."""


def loader(pool: Pool, engine: Engine, geometry: Geometry = GEOMETRY) -> SemiLoader:
    def planner(stream: Stream) -> Planner:
        return Planner(pool=pool, seed=0, stream=stream, geometry=geometry)

    return SemiLoader(
        labeled=planner(Stream.LABELED),
        unlabeled=planner(Stream.UNLABELED),
        num_labeled=2,
        num_unlabeled=4,
        engine=engine,
    )


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Decoders convert colors with other rounding: at most 3 of 255 apart in the mean."""
    return (a.cpu().float() - b.float()).abs().mean().item() <= 3
