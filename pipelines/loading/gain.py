"""The gain of prepared files: processor time of a whole sample from old files and from new ones.

A sample is the paper's: 8x8 and 16x4 frames of one video, each in a weak and a strong view of 224 pixels.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.catalog.pool import Pool
from pipelines.loading.sample import Media
from pipelines.loading.source import TrainSource
from pipelines.plan.geometry import Geometry
from pipelines.plan.planner import Planner, Stream
from pipelines.progress import Progress, no_progress
from pipelines.video.probe import VideoFacts, probe

NUM_TIMES = 3
"""Each sample is made so often, in turns; the fastest counts."""


def sample_gain(
    pairs: Sequence[tuple[str, str]], *, start_multiple: int = 1, progress: Progress = no_progress
) -> float:
    """Returns how many times faster a sample is made from the new file of a pair (old, new), median over the pairs.

    start_multiple: clips of the new files start at multiples of so many frames. NaN without a pair.
    """
    gains = []
    for number, pair in enumerate(pairs, 1):
        sources = [
            _source(path, start_multiple=multiple) for path, multiple in zip(pair, (1, start_multiple), strict=True)
        ]
        seconds = np.array([[_seconds(source, number) for source in sources] for _ in range(NUM_TIMES)])
        old, new = seconds.min(axis=0)
        gains.append(old / new)
        progress(number, len(pairs), "timing samples")
    return float(np.median(gains)) if gains else float("nan")


def _source(path: str, *, start_multiple: int) -> TrainSource:
    geometry = Geometry(max_offset_seconds=10.0, start_multiple=start_multiple)
    planner = Planner(pool=_pool(path, probe(Path(path))), seed=0, stream=Stream.UNLABELED, geometry=geometry)
    return TrainSource(planner=planner, media=Media.VIEWS, batch_size=1)


def _pool(path: str, facts: VideoFacts) -> Pool:
    """A pool of one video, whose pictures are taken as they are stored."""
    return Pool(
        paths=(path,),
        labels=np.array([-1]),
        num_frames=np.array([facts.num_frames]),
        fps=np.array([facts.fps]),
        width=np.array([facts.stored_width]),
        height=np.array([facts.stored_height]),
        exact_seek=np.array([facts.exact_seek]),
        codings=(facts.codec,),
        coding=np.array([0]),
    )


def _seconds(source: TrainSource, position: int) -> float:
    begin = time.thread_time()
    source.sample(position)
    return time.thread_time() - begin
