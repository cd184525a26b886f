"""Makes the views of a video on a CPU, frame by frame, in the process that decodes it.

FFmpeg's scaler crops and scales (planes of red, green and blue, bilinear: what the tests' oracle and the DALI graph
do), numpy does the rest. Legend: F frames, S crop side, H x W picture.
"""

import functools
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from pipelines.plan.boxes import Box
from pipelines.plan.operations import IDENTITY
from pipelines.plan.rand_augment import Strong
from pipelines.ranges import each_in_range
from pipelines.video.container import video_errors
from pipelines.video.frames import DecodingNotes, check_size, decode_each, same_size, to_rgb
from pipelines.video.packets import checked_frames
from pipelines.views.numpy_ops import cut_out, photometrics
from pipelines.views.warp import Warp


@dataclass(frozen=True, kw_only=True)
class View:
    """One view of some frames of a video: what is asked for."""

    frames: np.ndarray  # (F,) presentation indices, any order, with repetitions
    box: Box  # in whole pixels of the stored picture; a reversed side flips the view
    size: int
    strong: Strong | None = None
    transposed: bool = False  # rows and columns change places, behind the flips: the picture is stored on its side


def make_views(
    source: Path | str | bytes,
    views: Sequence[View],
    *,
    exact_seek: bool,
    picture_size: tuple[int, int],
    notes: DecodingNotes | None = None,
) -> list[np.ndarray]:
    """Each view (F, S, S, 3) uint8; every frame is decoded once, whatever views show it.

    `picture_size` is (width, height) as stored. `notes` are added to. Raises VideoError where frames cannot be decoded
    or have another size.
    """
    wanted = wanted_frames(views)
    frames = decode_each(source, wanted, exact_seek=exact_seek, notes=notes)
    return views_of(each_in_range(frames, "loader: read and decode"), views, wanted, picture_size=picture_size)


def wanted_frames(views: Sequence[View]) -> np.ndarray:
    """The distinct frames (F,) that some views show, ascending."""
    return np.unique(np.concatenate([checked_frames(view.frames) for view in views]))


def views_of(
    pictures: Iterable[tuple[int, av.VideoFrame]],
    views: Sequence[View],
    wanted: np.ndarray,
    *,
    picture_size: tuple[int, int],
) -> list[np.ndarray]:
    """The views, of (k, picture of frame `wanted[k]`) pairs in any order."""
    planar = Planar(*picture_size)

    def checked() -> Iterator[tuple[int, av.VideoFrame]]:
        for slot, frame in same_size(pictures):
            check_size(frame.width, frame.height, picture_size)
            yield slot, planar.of(planar.planes(frame))

    return _made(checked(), views, wanted)


def views_of_planes(planes: np.ndarray, views: Sequence[View]) -> list[np.ndarray]:
    """The views, of all pictures of a video as planes (frames, 3, H, W) uint8."""
    wanted = wanted_frames(views)
    planar = Planar(planes.shape[3], planes.shape[2])
    return _made(((slot, planar.of(planes[index])) for slot, index in enumerate(wanted.tolist())), views, wanted)


def _made(pictures: Iterable[tuple[int, av.VideoFrame]], views: Sequence[View], wanted: np.ndarray) -> list[np.ndarray]:
    makers = [ViewMaker(view, wanted, number=number) for number, view in enumerate(views)]
    with video_errors():
        for slot, picture in pictures:
            for maker in makers:
                maker.put(slot, picture)
    return [maker.finished() for maker in makers]


class Planar:
    """Red, green and blue of one picture after another, as a frame of three planes.

    FFmpeg is told that they are Y, U and V: it then scales each plane for itself. Planar RGB it would turn into YUV and
    back, in more time and with a rounding more.
    """

    def __init__(self, width: int, height: int) -> None:
        self._frame = av.VideoFrame(width, height, "yuv444p")
        self._planes = planes_of(self._frame)
        self._reformatter = VideoReformatter()

    def planes(self, frame: av.VideoFrame) -> Sequence[np.ndarray]:
        """Red, green and blue (H, W) of a decoded frame."""
        # Straight to planar RGB, FFmpeg's scaler leaves the last columns of widths like 340 unwritten.
        if frame.format.name == "yuv420p" and frame.width % 8 == 0:
            green, blue, red = planes_of(to_rgb(frame, self._reformatter, layout="gbrp"))
            return red, green, blue
        packed = to_rgb(frame, self._reformatter).to_ndarray()
        return packed[..., 0], packed[..., 1], packed[..., 2]

    def of(self, planes: Iterable[np.ndarray]) -> av.VideoFrame:
        """The frame of these planes; overwritten by the next call."""
        for own, plane in zip(self._planes, planes, strict=True):
            own[...] = plane
        return self._frame


class ViewMaker:
    """One view being made, picture by picture, as they come out of the decoder; the `number`-th of its video."""

    def __init__(self, view: View, wanted: np.ndarray, *, number: int) -> None:
        self._view, self._number = view, number
        self._rows: defaultdict[int, list[int]] = defaultdict(list)  # slot -> places in the view
        for row, slot in enumerate(np.searchsorted(wanted, view.frames).tolist()):
            self._rows[slot].append(row)
        self._planes = np.empty((3, len(view.frames), view.size, view.size), dtype=np.uint8)
        self._scaler: Scaler | None = None
        self._warp: Warp | None = None
        if view.strong is not None and view.strong.inverse_affine != IDENTITY:
            self._warp = Warp(view.strong.inverse_affine, num_frames=len(view.frames), size=view.size)

    def put(self, slot: int, picture: av.VideoFrame) -> None:
        """The picture of a slot (`Planar`), which the view may show at several places or not at all."""
        rows = self._rows.get(slot)
        if rows is None:
            return
        if self._scaler is None:
            self._scaler = scaler(picture.width, picture.height, self._view.size, self._number, threading.get_ident())
            self._scaler.aim(self._view.box)
        planes = planes_of(self._scaler(picture))
        top, left, bottom, right = self._view.box
        if left > right:
            planes = tuple(plane[:, ::-1] for plane in planes)
        if top > bottom:
            planes = tuple(plane[::-1] for plane in planes)
        if self._view.transposed:
            planes = tuple(plane.T for plane in planes)
        for row in rows:
            if self._warp is not None:
                self._warp.put(row, planes)
            else:
                for channel, plane in enumerate(planes):
                    self._planes[channel, row] = plane

    def finished(self) -> np.ndarray:
        """(F, S, S, 3), with the operations that want the whole clip done; in memory plane after plane."""
        if self._warp is not None:
            self._warp.into(self._planes)
        clip, strong = np.moveaxis(self._planes, 0, -1), self._view.strong
        if strong is not None:
            clip = photometrics(clip, strong.photometric)
            cut_out(clip, strong.cutout)
        return clip


class Scaler:
    """Crops a box, not flipped, out of pictures of one size (`Planar`) and scales it to `size` x `size`."""

    def __init__(self, width: int, height: int, size: int) -> None:
        self._graph = av.filter.Graph()
        self._graph.threads = 1  # the videos are the parallelism
        planes = av.VideoFormat("yuv444p", width, height)
        source = self._graph.add_buffer(width=width, height=height, format=planes, time_base=Fraction(1, av.time_base))
        self._crop = self._graph.add("crop", f"{width}:{height}:0:0")
        scale = self._graph.add("scale", f"{size}:{size}:flags=bilinear+accurate_rnd")
        steps = source, self._crop, scale, self._graph.add("format", "pix_fmts=yuv444p"), self._graph.add("buffersink")
        self._graph.link_nodes(*steps).configure()
        self._box: tuple[int, ...] | None = None

    def aim(self, box: Box) -> None:
        """The box of the pictures from here on: a third of what a new graph costs."""
        top, bottom = sorted((box[0], box[2]))
        left, right = sorted((box[1], box[3]))
        wanted = (right - left, bottom - top, left, top)
        if wanted != self._box:
            for name, value in zip("whxy", wanted, strict=True):
                self._crop.process_command(name, str(value))
            self._box = wanted

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The scaled box of a picture."""
        self._graph.vpush(picture)
        return self._graph.vpull()


@functools.lru_cache(maxsize=64)
def scaler(width: int, height: int, size: int, number: int, thread: int) -> Scaler:
    """One for each view of a video, which are made at the same time; kept for the next videos of the same size."""
    return Scaler(width, height, size)


def planes_of(picture: av.VideoFrame) -> tuple[np.ndarray, ...]:
    """The three planes (H, W) of a picture, without a copy: valid as long as the picture is."""
    shape = picture.height, picture.width
    return tuple(
        np.ndarray(shape, np.uint8, plane, 0, (plane.line_size, 1))  # type: ignore[arg-type]  # a buffer, if not by stub
        for plane in picture.planes
    )
