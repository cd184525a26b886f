"""Decides who decodes where there is NVDEC: it, or the workers for what it does not take."""

import ctypes
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from pipelines.catalog.pool import Pool

PIXEL_FORMATS = {
    "h264": ("yuv420p", "yuvj420p"),
    "hevc": ("yuv420p", "yuvj420p", "yuv420p10le"),
    "mpeg4": ("yuv420p",),
    "vp9": ("yuv420p",),
}
"""What NVDEC decodes on Ampere and Hopper, by codec."""
ENOUGH_REFUSED = 2
"""So many videos of one coding, and none that was decoded, say that NVDEC does not take the coding here."""


@dataclass(frozen=True, kw_only=True)
class OnCpu:
    """Videos of a pool that the workers decode although there is NVDEC."""

    codings: frozenset[str] = frozenset()  # such as "av1 yuv420p"
    videos: frozenset[int] = frozenset()  # pool indices

    def holds(self, pool: Pool, video: int) -> bool:
        """Whether a video is decoded on the CPU."""
        return video in self.videos or pool.coding_of(video) in self.codings

    def __bool__(self) -> bool:
        return bool(self.codings or self.videos)

    def lines(self, pool: Pool) -> list[str]:
        """The same in words, a line a coding: how many videos, and which share of the pool."""
        lines = []
        for index, coding in enumerate(pool.codings):
            if coding in self.codings:
                number = int(np.count_nonzero(pool.coding == index))
                share = 100 * number / len(pool)
                lines.append(
                    f"{number} of {len(pool)} videos ({share:.1f} %) are decoded on the CPU: not {coding} by NVDEC"
                )
        return lines


def on_cpu(pool: Pool) -> OnCpu:
    """What NVDEC is known not to decode."""

    def takes(coding: str) -> bool:
        codec, _, pixel_format = coding.partition(" ")
        return pixel_format in PIXEL_FORMATS.get(codec, ())

    return OnCpu(codings=frozenset(coding for coding in pool.codings if not takes(coding)))


def nvdec_problem() -> str | None:
    """Says why NVDEC cannot be used here; None where its library loads and torch sees a GPU."""
    import torch  # not above: workers import this file

    if not torch.cuda.is_available():
        return "torch sees no GPU"
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError:
        return "libnvcuvid.so.1 is not there: give the container the driver's video capability"
    return None


def after_refusal(known: OnCpu, pool: Pool, *, refused: Collection[int], tried: Collection[int]) -> OnCpu:
    """With the videos that NVDEC refused among those that it was tried on; their whole coding where it takes none."""
    decoded = {pool.coding_of(video) for video in tried if video not in refused}
    videos = known.videos | set(refused)
    codings = {pool.coding_of(video) for video in refused} - decoded
    whole = {c for c in codings if sum(pool.coding_of(video) == c for video in refused) >= ENOUGH_REFUSED}
    return OnCpu(codings=known.codings | whole, videos=videos)
