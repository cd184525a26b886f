"""The facts of one video file: asked once, kept in the manifest."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from pipelines.errors import VideoError
from pipelines.video.container import decode_packets, demux, is_moving, open_video, video_errors
from pipelines.video.cut import Cut, cut_short, entry_test
from pipelines.video.frames import decode_frames
from pipelines.video.mp4 import claims_too_much
from pipelines.video.packets import PacketTable, packet_table
from pipelines.video.upright import Shape, shape_of

NUM_VERIFIED_GOPS = 4
"""Keyframes of a doubtful file that are tried: decoding from there must give the same pixels."""
_INTERLACED_ORDERS = (2, 3, 4, 5)
"""FFmpeg's AVFieldOrder but for unknown and progressive."""


class UnreadableError(VideoError):
    """The file system refused (permissions, a lost disk), which says nothing of the video."""


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """One usable video.

    num_frames: frames that decoding an intact file from start to end yields. fps: the average. width, height: of the
    upright picture of square pixels. stored_width, stored_height: of the decoded frame, in pixels. mirrored: left and
    right change places to make it upright. turns: quarter turns against the clock, 0 to 3, behind that. interlaced: its
    rows are of two moments. exact_seek: decoding only the GOPs of the frames asked for gives the same pixels as
    decoding from the start.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    stored_width: int
    stored_height: int
    turns: int
    mirrored: bool
    interlaced: bool
    codec: str
    pixel_format: str
    exact_seek: bool
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the packets and the first frame say."""

    table: PacketTable | None  # of all packets; None where time stamps don't order the frames
    trusted: bool  # packets and frames are one to one, and every keyframe is a clean start
    shape: Shape
    interlaced: bool
    codec: str
    pixel_format: str
    average_fps: float
    seconds_per_pts: float


def probe(path: Path) -> VideoFacts:
    """Finds the facts of one video file, as cheaply as they can be had.

    H.264 and HEVC in MP4 or MOV, whole and with one time stamp a packet, are read without decoding more than
    the first picture; all else is decoded from start to end, and whether its GOPs can be cut is tried out.
    A file that breaks off counts with the frames before that, and so does one of the second kind that turns
    corrupt; flipped bytes in one of the first kind show only when a clip meets them.
    Raises VideoError with the reason a video is unusable ("empty file", "not a video: ...", "no video
    stream", ...), UnreadableError where the file system refused.
    """
    status = _file_status(path)
    if claims_too_much(path):
        raise VideoError("its header claims more packets than the file has bytes")
    header = _read_header(path)
    ordered = header.table  # the table, where it orders the frames as decoding does
    if header.trusted and ordered is not None:
        num_frames, exact_seek = len(ordered.pts), True
    else:
        pts = _decode_all(path, expected=None if ordered is None else len(ordered.shown))
        num_frames = len(pts)
        if ordered is not None and pts != ordered.pts[ordered.shown].tolist():
            ordered = None
        exact_seek = ordered is not None and _cuts_are_exact(path, ordered)
    width, height = header.shape.size
    return VideoFacts(
        num_frames=num_frames,
        fps=_average_fps(header, ordered),
        width=width,
        height=height,
        stored_width=header.shape.stored_width,
        stored_height=header.shape.stored_height,
        turns=header.shape.turns,
        mirrored=header.shape.mirrored,
        interlaced=header.interlaced,
        codec=header.codec,
        pixel_format=header.pixel_format,
        exact_seek=exact_seek,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def _file_status(path: Path) -> os.stat_result:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise VideoError("not a file")
        if not status.st_size:
            raise VideoError("empty file")
        with open(path, "rb"):
            return status
    except FileNotFoundError as error:
        raise UnreadableError("missing") from error
    except OSError as error:
        raise UnreadableError(f"unreadable: {error.strerror}") from error


def _read_header(path: Path) -> _Header:
    try:
        with video_errors(), open_video(path) as (container, stream):
            if not is_moving(stream):
                raise VideoError("no video stream, only a cover picture")
            return _read_stream(container, stream)
    except VideoError as error:
        # FFmpeg's words for "no demuxer knows this" and for a header that is damaged or broken off
        if str(error) in ("Invalid data found when processing input", "End of file", "Input/output error"):
            raise VideoError(f"not a video: no readable header ({error})") from error
        raise


def _read_stream(container: av.container.InputContainer, stream: av.VideoStream) -> _Header:
    """Reads the packets once and keeps none: files may be larger than the memory.

    Trusted is the common kind of file, in which every packet becomes one frame. A packet count other than the
    header's means a file broken off or in fragments; discarded packets an edit list; a first packet that
    is not the first shown, leading pictures that no decoder can show.
    """
    context = stream.codec_context
    codec = context.codec.canonical_name
    clean = "mp4" in container.format.name.split(",") and codec in ("h264", "hevc")
    is_entry = entry_test(context)
    first: av.VideoFrame | None = None
    rows = []
    for packet in demux(container, stream):
        rows.append((packet.pts, packet.is_keyframe, packet.is_discard))
        if clean:
            clean = not packet.is_corrupt and (not packet.is_keyframe or is_entry(packet))
        if first is None:
            first = next(iter(context.decode(packet)), None)
    if first is None:
        first = next(iter(context.decode(None)), None)
    if first is None:
        raise VideoError("no picture can be decoded")
    table = packet_table(rows)
    return _Header(
        table=table,
        trusted=clean
        and table is not None
        and len(rows) == stream.frames
        and not table.discard.any()
        and bool(table.keyframe[0])
        and table.pts[0] == table.pts.min(),
        shape=shape_of(stream, first),
        interlaced=first.interlaced_frame or context.field_order in _INTERLACED_ORDERS,
        codec=codec,
        pixel_format=first.format.name,
        average_fps=float(stream.average_rate or stream.guessed_rate or 0),
        seconds_per_pts=float(stream.time_base or 0),
    )


def _decode_all(path: Path, *, expected: int | None) -> list[int | None]:
    """Returns the time stamps of all frames, up to the first error. `expected` frames are named in the error."""
    pts: list[int | None] = []
    sizes: list[str] = []
    try:
        with video_errors(), open_video(path) as (container, stream):
            for frame in decode_packets(container, stream):
                size = f"{frame.width}x{frame.height}"
                if size not in sizes:
                    sizes.append(size)
                    if len(sizes) > 1:
                        break
                pts.append(frame.pts)
    except VideoError as error:
        if not pts:
            of = f" of {expected}" if expected else ""
            raise VideoError(f"truncated: 0{of} frames readable: {error}") from error
    if len(sizes) > 1:
        raise VideoError(f"the picture size changes from {sizes[0]} to {sizes[1]} at frame {len(pts)}")
    if not pts:
        raise VideoError("no picture can be decoded")
    return pts


def _cuts_are_exact(path: Path, table: PacketTable) -> bool:
    """Tries GOPs spread over the file: the frames around their keyframes must come out the same."""
    keyframes = np.flatnonzero(table.keyframe[table.shown])  # presentation indices
    if not len(keyframes):
        return False
    last_frame = len(table.shown) - 1
    chosen = np.unique(np.linspace(0, len(keyframes) - 1, NUM_VERIFIED_GOPS).round().astype(int))
    firsts = keyframes[chosen]
    lasts = np.append(keyframes, last_frame + 1)[chosen + 1] - 1
    frames = np.unique(np.clip([firsts - 1, firsts, firsts + 1, lasts], 0, last_frame))
    try:
        plain = decode_frames(path, frames, exact_seek=False)
        for frame, picture in zip(frames, plain, strict=True):
            alone = cut_short(path, np.array([frame]))  # neighbors would be decoded as one range
            if alone is None or not np.array_equal(shown(alone)[0], picture):
                return False
        together = cut_short(path, frames)
        return together is not None and np.array_equal(shown(together), plain)
    except VideoError:
        return False


def shown(made: Cut) -> np.ndarray:
    """Decodes the frames (F, H, W, 3) that a cut was made for."""
    return decode_frames(made.content, made.frames, exact_seek=False)


def _average_fps(header: _Header, ordered: PacketTable | None) -> float:
    """Returns frames a second between first and last time stamp; the header's word where no table orders the frames."""
    fps = header.average_fps
    if ordered is not None and len(ordered.shown) > 1:
        pts = ordered.pts[ordered.shown]
        fps = (len(pts) - 1) / (float(pts[-1] - pts[0]) * header.seconds_per_pts)
    if not 0 < fps < 10_000:
        raise VideoError(f"no frame rate (received {fps:g})")
    return fps
