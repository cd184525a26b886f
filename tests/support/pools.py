"""Pools of videos that need not exist."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from pipelines.catalog.pool import Pool


def pool_like(
    paths: Sequence[Path | str],
    *,
    labels: ArrayLike = 0,
    num_frames: ArrayLike = 300,
    fps: ArrayLike = 25.0,
    width: ArrayLike = 64,
    height: ArrayLike = 48,
    exact_seek: ArrayLike = True,
    codings: tuple[str, ...] = ("h264 yuv420p",),
    coding: ArrayLike = 0,
) -> Pool:
    """A pool of these files; each fact is a value a video, or one for all."""

    def column(values: ArrayLike, dtype: type) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, dtype=dtype), len(paths)).copy()

    return Pool(
        paths=tuple(map(str, paths)),
        labels=column(labels, np.int64),
        num_frames=column(num_frames, np.int64),
        fps=column(fps, np.float64),
        width=column(width, np.int64),
        height=column(height, np.int64),
        exact_seek=column(exact_seek, bool),
        codings=codings,
        coding=column(coding, np.int64),
    )
