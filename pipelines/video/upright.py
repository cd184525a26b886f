"""The pictures of a video as people see them: upright, of square pixels, progressive."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from pipelines.errors import VideoError

_LEAST_STRETCH, _MOST_STRETCH = Fraction(1, 4), Fraction(4)
"""Pixel shapes (width / height) beyond these come from broken headers."""
_NEARLY_SQUARE = Fraction(1, 50)
"""A difference from 1 below this is what rounding a video's sides leaves."""

_TO_LIMITED = "y=round(val*219/255)+16:u=round((val-128)*224/255)+128:v=round((val-128)*224/255)+128"
"""Full range to limited range, rounded to the nearest, which FFmpeg's scaler does not do."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A stored picture's size in pixels, and what makes it upright and square: stretched, mirrored, then turned.

    stretch: width of a stored pixel / its height. mirrored: left and right change places. turns: quarter turns against
    the clock, 0 to 3.
    """

    stored_width: int
    stored_height: int
    stretch: Fraction = Fraction(1)
    turns: int = 0
    mirrored: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright picture of square pixels. The stored height is kept, the width fits it."""
        width, height = max(1, round(self.stored_width * self.stretch)), self.stored_height
        return (height, width) if self.turns % 2 else (width, height)


def shape_of(stream: av.VideoStream, frame: av.VideoFrame) -> Shape:
    """Returns the shape of a stream's pictures, `frame` being the first of them."""
    stretch = Fraction(stream.sample_aspect_ratio or 1)
    if abs(stretch - 1) < _NEARLY_SQUARE or not _LEAST_STRETCH <= stretch <= _MOST_STRETCH:
        stretch = Fraction(1)
    turns, mirrored = _orientation(frame)
    return Shape(stored_width=frame.width, stored_height=frame.height, stretch=stretch, turns=turns, mirrored=mirrored)


def _orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """Returns (quarter turns against the clock, if left and right change places before), as the display matrix says.

    The matrix takes a stored point (x, y), y downwards, to (a x + c y, b x + d y); it lies in memory as a, b, u, c, d,
    ... (ISO 14496-12, 6.2.2). Angles between are rounded to the nearest quarter turn.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d, *_ = np.frombuffer(matrix, dtype=np.int32).astype(float).tolist()  # type: ignore[call-overload]
    mirrored = a * d < b * c
    x, y = (-a, -b) if mirrored else (a, b)  # where the turn alone takes the axis that points to the right
    return round(-math.atan2(y / (math.hypot(b, d) or 1), x / (math.hypot(a, c) or 1)) / (math.pi / 2)) % 4, mirrored


class Upright:
    """Makes upright, progressive frames of 8-bit 4:2:0 in limited range, each of one source frame, in order.

    scaled: (width, height) to scale to. cropped: (width, height) of the middle that is kept. Frames keep the colors of
    the source: matrix, primaries and transfer are copied, and full range becomes limited range, as NVDEC reads it.
    """

    def __init__(self, shape: Shape, *, scaled: tuple[int, int], cropped: tuple[int, int]) -> None:
        self._shape, self._scaled, self._cropped = shape, scaled, cropped
        self._graph: av.filter.Graph | None = None
        self._kind: tuple[object, ...] = ()
        self._waiting: deque[av.VideoFrame] = deque()  # source frames in the graph
        self.num_interlaced = 0

    def frames(self, source: Iterator[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        """Yields (source frame, upright frame). Raises VideoError where the size of the source's frames changes."""
        for frame in source:
            size = frame.width, frame.height
            if size != (self._shape.stored_width, self._shape.stored_height):
                before = f"{self._shape.stored_width}x{self._shape.stored_height}"
                raise VideoError(f"the picture size changes from {before} to {size[0]}x{size[1]}")
            self.num_interlaced += frame.interlaced_frame
            kind = (frame.format.name, frame.color_range, frame.colorspace, self.num_interlaced > 0)
            if kind != self._kind:
                yield from self._flushed()
                self._graph, self._kind = self._made_graph(frame), kind
            assert self._graph is not None
            self._waiting.append(frame)
            self._graph.vpush(frame)
            yield from self._pulled()
        yield from self._flushed()

    def _flushed(self) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pulled()
        if self._waiting:
            raise VideoError(f"{len(self._waiting)} frames were lost in FFmpeg's filters")

    def _pulled(self) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        assert self._graph is not None
        while self._waiting:
            try:
                made = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            source = self._waiting.popleft()
            made.color_primaries, made.color_trc = source.color_primaries, source.color_trc
            made.colorspace, made.color_range = _matrix(source), ColorRange.MPEG
            yield source, made

    def _made_graph(self, frame: av.VideoFrame) -> av.filter.Graph:
        """The filters: deinterlace, mirror, turn, scale, crop the middle."""
        shape = self._shape
        is_full = not _is_rgb(frame) and (frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj"))
        steps = [("bwdif", "mode=send_frame:deint=interlaced")] if self.num_interlaced else []
        steps += [("hflip", "")] if shape.mirrored else []
        steps += {0: [], 1: [("transpose", "cclock")], 2: [("hflip", ""), ("vflip", "")], 3: [("transpose", "clock")]}[
            shape.turns
        ]
        size = frame.width, frame.height
        turned = size[::-1] if shape.turns % 2 else size
        if self._scaled != turned or is_full or frame.format.name != "yuv420p":
            colors = f"out_range={'pc' if is_full else 'tv'}" + (":out_color_matrix=bt601" if _is_rgb(frame) else "")
            flags = "bicubic+accurate_rnd+full_chroma_int"
            steps.append(("scale", f"{self._scaled[0]}:{self._scaled[1]}:flags={flags}:{colors}"))
        steps.append(("format", "pix_fmts=yuv420p"))
        if is_full:
            steps.append(("lutyuv", _TO_LIMITED))
        if self._cropped != self._scaled:
            steps.append(("crop", f"{self._cropped[0]}:{self._cropped[1]}"))
        graph = av.filter.Graph()
        graph.threads = 1  # the files are the parallelism
        colors = (
            f"colorspace={int(frame.colorspace)}:range={int(ColorRange.JPEG) if is_full else int(frame.color_range)}"
        )
        arguments = f"video_size={size[0]}x{size[1]}:pix_fmt={frame.format.name}:time_base=1/25:{colors}"
        nodes = [graph.add("buffer", arguments), *(graph.add(*step) for step in steps), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        return graph


def _is_rgb(frame: av.VideoFrame) -> bool:
    return bool(frame.format.is_rgb) or frame.format.has_palette


def _matrix(frame: av.VideoFrame) -> int:
    """The matrix of the frame's colors in 4:2:0: that of RGB is chosen, all others are kept."""
    return int(Colorspace.SMPTE170M if _is_rgb(frame) else frame.colorspace)
