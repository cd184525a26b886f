"""Pictures of a small pool's videos: decoded once a process, and kept in memory.

Legend: F frames of a video, H x W pixels of its stored picture.
"""

from pathlib import Path

import numpy as np

from pipelines.errors import VideoError
from pipelines.video.frames import DecodingNotes, decode_each, same_size
from pipelines.views.make import Planar


class HeldPictures:
    """The pictures of each video that was asked for, as planes of red, green and blue; they are `decode_each`'s.

    A video with any damage is not held: what its decoder says hangs on the frames that are asked for.
    """

    def __init__(self) -> None:
        self._planes: dict[Path | str, np.ndarray | None] = {}

    def planes(
        self, path: Path | str, *, num_frames: int, picture_size: tuple[int, int], exact_seek: bool
    ) -> np.ndarray | None:
        """(F, 3, H, W) uint8, to be read alone; None for a video that is not held. F and (W, H) are as probed."""
        if path not in self._planes:
            self._planes[path] = _decoded_whole(path, num_frames, picture_size, exact_seek=exact_seek)
        return self._planes[path]


def _decoded_whole(
    path: Path | str, num_frames: int, picture_size: tuple[int, int], *, exact_seek: bool
) -> np.ndarray | None:
    width, height = picture_size
    planar, notes = Planar(width, height), DecodingNotes()
    planes = np.empty((num_frames, 3, height, width), dtype=np.uint8)
    try:
        for slot, frame in same_size(decode_each(path, np.arange(num_frames), exact_seek=exact_seek, notes=notes)):
            if (frame.width, frame.height) != picture_size:
                return None
            planes[slot] = planar.planes(frame)
    except VideoError:
        return None  # whether a clip of it decodes is found out clip by clip
    return None if notes.num_damaged else planes
