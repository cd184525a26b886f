"""Decoded pictures of small videos held in memory, so that a CPU's training runs spend little time on decoding."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

import pipelines.views.make
from pipelines.errors import VideoError
from pipelines.video.container import decode_all, open_video, video_errors
from pipelines.video.frames import DecodingNotes, decode_each


class HeldFrames:
    """Pictures by file, as FFmpeg decoded them. A file is decoded whole when it is first asked for, and never again."""

    def __init__(self) -> None:
        self._pictures: dict[str, list[av.VideoFrame]] = {}

    def decode_each(
        self,
        source: Path | str | bytes,
        wanted: np.ndarray,
        *,
        exact_seek: bool,
        notes: DecodingNotes | None = None,
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yields (k, picture of frame `wanted[k]`) as `pipelines.video.frames.decode_each` does. Raises VideoError.

        Damage of held pictures is not noted.
        """
        if isinstance(source, bytes):
            yield from decode_each(source, wanted, exact_seek=exact_seek, notes=notes)
            return
        path = os.path.realpath(source)  # a video is held once, whatever links lead to it
        if path not in self._pictures:
            self._pictures[path] = list(_pictures(path))
        pictures = self._pictures[path]
        for slot, index in enumerate(wanted.tolist()):
            if index >= len(pictures):
                raise VideoError(f"{len(pictures)} frames readable, asked for frame {index}")
            yield slot, pictures[index]

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Views of this process are made of held pictures meanwhile; worker processes decode as ever."""
        pipelines.views.make.decode_each = self.decode_each
        try:
            yield
        finally:
            pipelines.views.make.decode_each = decode_each


def _pictures(path: str) -> Iterator[av.VideoFrame]:
    """All pictures of a file, as far as it decodes."""
    with video_errors(), open_video(path) as (container, stream):
        yield from decode_all(container, stream)
