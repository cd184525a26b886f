"""Decides who decodes where there is NVDEC: it, or the workers for what it does not take."""

import ctypes
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from pipelines.catalog.pool import Pool

PIXEL_FORMATS: dict[str, dict[str, tuple[str, ...]]] = {
    "mixed": {
        "h264": ("yuv420p", "yuvj420p"),
        "hevc": ("yuv420p", "yuvj420p", "yuv420p10le"),
        "mpeg4": ("yuv420p",),
    },
    "cpu": {"vp8": ("yuv420p",), "vp9": ("yuv420p",)},
}
"""What DALI's decoders (`Engine.decoder`) take, by codec: NVDEC on Ampere and Hopper, and the software decoder.

NVDEC decodes VP9, too. But DALI takes its hidden frames, which two-pass encodings have, for frames of their own, and
all after one are shifted.
"""
SIDES = {"h264": (48, 16, 4096), "hevc": (144, 144, 8192), "mpeg4": (48, 16, 1024)}
"""Codec -> least width, least height, largest side that NVDEC takes (NVIDIA Video Codec SDK, NVDEC Application Note).
Beyond them DALI raises inside a callback of NVIDIA's library, which may end the process."""
GOLDEN_RATIO_32 = 2654435769
"""The golden ratio's digits, of 2**32: its multiples are spread evenly."""
ENOUGH_REFUSED = 2
"""So many videos of one coding, and none that was decoded, say that NVDEC does not take the coding here."""


@dataclass(frozen=True, kw_only=True)
class OnCpu:
    """What of a pool the workers decode although there is NVDEC: all that NVDEC does not take, and a share of the rest
    (`Engine.cpu_share`)."""

    codings: frozenset[str] = frozenset()  # such as "av1 yuv420p"
    videos: frozenset[int] = frozenset()  # pool indices
    share: float = 0.0

    def must(self, pool: Pool, video: int) -> bool:
        """Whether NVDEC does not take a video."""
        return video in self.videos or pool.coding_of(video) in self.codings

    def holds(self, pool: Pool, video: int, *, number: int) -> bool:
        """Whether a video is decoded on the CPU where it is sample `number` of a stream.

        The share is spread evenly: among any numbers in a row, no more than one or two off it.
        """
        return number * GOLDEN_RATIO_32 % 2**32 < self.share * 2**32 or self.must(pool, video)

    def __bool__(self) -> bool:
        return bool(self.codings or self.videos or self.share)

    def lines(self, pool: Pool) -> list[str]:
        """The same in words, a line a reason: how many videos, and which share of the pool."""
        found: Counter[str] = Counter()
        width, height = pool.stored_sizes()
        for index, coding in enumerate(pool.codings):
            if coding in self.codings:
                found[f"NVDEC does not take {coding}"] = int(np.count_nonzero(pool.coding == index))
        for video in self.videos:
            if pool.coding_of(video) not in self.codings:
                size = f"NVDEC does not take {width[video]}x{height[video]} pixels"
                found[size if pool.exact_seek[video] else "their packets do not lead to their frames"] += 1
        return [
            f"{number} of {len(pool)} videos ({100 * number / len(pool):.1f} %) are decoded on the CPU: {reason}"
            for reason, number in found.items()
            if number
        ]


def on_cpu(pool: Pool, *, decoder: str = "mixed") -> OnCpu:
    """Finds what a decoder of DALI's (`Engine.decoder`) is known not to decode, or not rightly.

    NVDEC's frames are told apart by counting: where packets and frames do not pair up (`exact_seek` is False), all
    after the first odd one would be shifted, without an error.
    """
    taken = PIXEL_FORMATS[decoder]

    def takes(coding: str) -> bool:
        codec, _, pixel_format = coding.partition(" ")
        return pixel_format in taken.get(codec, ())

    inexact = ~pool.exact_seek
    width, height = pool.stored_sizes()
    beyond = np.zeros(len(pool), dtype=bool)
    for index, coding in enumerate(pool.codings) if decoder == "mixed" else ():
        least_width, least_height, most = SIDES.get(coding.partition(" ")[0], (0, 0, np.inf))
        of_coding = pool.coding == index
        too_small = (width < least_width) | (height < least_height)
        beyond |= of_coding & (too_small | (np.maximum(width, height) > most))
    return OnCpu(
        codings=frozenset(coding for coding in pool.codings if not takes(coding)),
        videos=frozenset(np.flatnonzero(inexact | beyond).tolist()),
    )


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
    return replace(known, codings=known.codings | whole, videos=videos)
