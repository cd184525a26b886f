"""Videos decoded once a process and kept in memory, for many runs over the same small data set.

The trainer does all else: plans, views, steps, evaluation. A decoder gives the same frames each time, so that a run
ends in the same weights as one that decodes anew; tests hold it.
"""

import contextlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import av
import numpy as np

from pipelines.video.container import decode_all, open_video, video_errors
from pipelines.views import make

Pictures = dict[str, list[av.VideoFrame]]


@contextlib.contextmanager
def decoded_once(kept: Pictures | None = None) -> Iterator[Pictures]:
    """In the block, views of this process are made of pictures that are decoded once and kept in `kept`.

    It needs `runtime.workers=0`: worker processes decode for themselves.
    """
    kept = {} if kept is None else kept

    def decode_each(
        source: Path | str | bytes, wanted: np.ndarray, *, exact_seek: bool
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        pictures = kept.get(str(source))
        if pictures is None:
            pictures = kept[str(source)] = all_pictures(source)
        return ((slot, pictures[index]) for slot, index in enumerate(wanted.tolist()))

    with patch.object(make, "decode_each", decode_each):
        yield kept


def all_pictures(source: Path | str | bytes) -> list[av.VideoFrame]:
    """Every frame of a video, in the order they are shown. Raises VideoError where it cannot be decoded."""
    with video_errors(), open_video(source) as (container, stream), closing(decode_all(container, stream)) as frames:
        return list(frames)
