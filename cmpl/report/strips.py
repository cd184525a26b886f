"""Frame strips: some frames of a validation video side by side, decoded as evaluation decodes them.

Legend: F frames of a strip, S side in pixels.
"""

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from cmpl import build
from cmpl.config import changed
from cmpl.evaluation_file import EvaluatedVideo
from cmpl.report.values import RunValues
from pipelines.catalog.pool import Pool
from pipelines.errors import InputError, VideoError
from pipelines.loading.source import picture_size, view_of
from pipelines.plan.boxes import evaluation_boxes, stored_box
from pipelines.progress import Progress, no_progress
from pipelines.views.make import make_views

NUM_FRAMES, SIDE, GAP = 6, 128, 3
QUALITY = 3
"""FFmpeg's quantizer of JPEGs: 2 is the best, 31 the smallest."""


class Strips:
    """The frame strips of one run's validation videos. `reason` says why there are none: the data may be elsewhere."""

    def __init__(self, run: RunValues, *, data_root: str | None = None, progress: Progress = no_progress) -> None:
        self.reason = ""
        self._pool: Pool | None = None
        self._places: dict[str, int] = {}
        try:
            config = run.config if data_root is None else changed(run.config, "data", root=data_root)
            data = build.open_data(config, progress=progress)
            manifest, indices = data.evaluation_selection()
            self._pool = data.evaluation_pool()
            self._places = {manifest.paths[index]: place for place, index in enumerate(indices.tolist())}
        except InputError as error:
            self.reason = str(error)

    def of(self, path: str) -> np.ndarray:
        """The strip (S, width, 3) uint8 of a video by the path in its list. Raises VideoError where there is none."""
        place = self._places.get(path)
        if self._pool is None or place is None:
            raise VideoError(self.reason or "not among the validation videos that are there now")
        return strip_of(self._pool, place)


def strip_of(pool: Pool, video: int) -> np.ndarray:
    """F frames evenly over a video of the pool, its middle square, side by side. Raises VideoError."""
    picture = pool.picture(video)
    frames = np.linspace(0, int(pool.num_frames[video]) - 1, NUM_FRAMES).round().astype(np.int64)
    box = stored_box(evaluation_boxes(1, width=picture.width, height=picture.height)[0], picture)
    (view,) = make_views(
        pool.paths[video],
        [view_of(frames, box, size=SIDE)],
        exact_seek=bool(pool.exact_seek[video]),
        picture_size=picture_size(pool, video),
    )
    line = np.full((SIDE, GAP, 3), 255, dtype=np.uint8)
    parts = [part for frame in view for part in (line, frame)]
    return np.concatenate(parts[1:], axis=1)


def jpeg(picture: np.ndarray) -> bytes:
    """(height, width, 3) uint8 as a JPEG file."""
    height, width = picture.shape[:2]
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = even.shape[:2]
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 1)
    codec.options = {"qmin": str(QUALITY), "qmax": str(QUALITY)}
    frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for part in (frame, None) for packet in codec.encode(part))


def confident_mistakes(videos: Sequence[EvaluatedVideo], *, number: int) -> list[EvaluatedVideo]:
    """The wrongly named videos that the primary network is most sure of."""
    wrong = [video for video in videos if video.named != video.truth]
    return sorted(wrong, key=lambda video: -video.confidence)[:number]


def most_uncertain(videos: Sequence[EvaluatedVideo], *, number: int) -> list[EvaluatedVideo]:
    """The videos of the greatest entropy: where the networks are unsure, or differ."""
    return sorted(videos, key=lambda video: -video.entropy)[:number]
