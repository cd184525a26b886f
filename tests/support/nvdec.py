"""Videos that both DALI's software decoder and NVDEC take, and the mark of tests that need NVDEC itself."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.catalog.pool import Pool
from pipelines.loading.nvdec import nvdec_problem
from tests.support.pools import pool_like
from tests.support.videos import make_video

needs_gpu = pytest.mark.skipif(nvdec_problem() is not None, reason=f"no NVDEC: {nvdec_problem()}")


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
