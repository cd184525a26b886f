"""Facts about planned videos that decide what a GPU has to do: frames, pixels, bytes, and cutting on this CPU."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.decode_work import num_packets
from pipelines.errors import InputError, VideoError
from pipelines.loading.source import cut_of, picture_size
from pipelines.plan.planner import Planner

NUM_VIDEOS = 32
"""Videos that are looked at, at least one of each stream."""


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """One planned video, as the GPU gets it."""

    codec: str
    num_pixels: int
    """Width x height of the source."""
    num_wanted: int
    """Distinct frames that its clips show."""
    num_decoded: int
    """Packets in its cut: frames that NVDEC decodes."""
    num_bytes: int
    """Size of its cut."""
    cut_seconds: float
    """Measured here: reading and cutting in one process, the file in the page cache."""


def planned_videos(streams: Sequence[tuple[Planner, int]], *, num_videos: int = NUM_VIDEOS) -> list[PlannedVideo]:
    """Cuts the first planned videos of each stream, in the shares of its videos in a batch: (planner, videos a batch).

    Leaves out broken videos. Raises InputError where all are broken.
    """
    total = sum(share for _, share in streams)
    found: list[PlannedVideo] = []
    for planner, share in streams:
        found += _videos_of(planner, max(1, round(num_videos * share / total)))
    if not found:
        raise InputError("videos: received none that can be read; accepted: at least one")
    return found


def _videos_of(planner: Planner, number: int) -> Iterator[PlannedVideo]:
    pool = planner.pool
    for position in range(number):
        plan = planner.plan(position)
        video, path = plan.video, pool.paths[plan.video]
        try:
            Path(path).read_bytes()  # into the page cache
            begin = time.perf_counter()
            made = cut_of(pool, video, plan.frames)
            seconds = time.perf_counter() - begin
            num_decoded = num_packets(made.content.tobytes())
        except (OSError, VideoError):
            continue
        yield PlannedVideo(
            codec=pool.coding_of(video).split()[0],
            num_pixels=math.prod(picture_size(pool, video)),
            num_wanted=len(made.indices),
            num_decoded=num_decoded,
            num_bytes=made.content.size,
            cut_seconds=seconds,
        )
