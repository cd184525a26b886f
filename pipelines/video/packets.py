"""The packets of a video, read by FFmpeg, and which of them some frames need.

Legend: N packets of the stream in decode order, F frames asked for, H x W pixels.
A packet's order in the file is the order of decoding; a frame's index is its rank by time stamp (pts).
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from pipelines.errors import InputError, VideoError

MAX_PIXELS = 1 << 26
"""Most pixels of a picture, 8192 x 8192. More come from broken headers; refusing them saves gigabytes."""

HEADERS_ONLY = {"options": {"probesize": "32"}, "stream_options": [{"skip_frame": "all"}] * 16}
"""Options to open a container whose headers say all that is needed. Else FFmpeg decodes a few frames to guess the
delay. One stream option a stream, more than enough of them."""

MAX_REORDER_FRAMES = 32
"""A frame's rank and its place in the file differ by less than this (H.264 and HEVC allow 16)."""


@dataclass(frozen=True, kw_only=True)
class PacketTable:
    """The times and kinds of a stream's first N packets, as the container says, without decoding them."""

    pts: np.ndarray  # (N,) int64, in the stream's time base
    keyframe: np.ndarray  # (N,) bool: decoding may begin here
    discard: np.ndarray  # (N,) bool: decoded but not shown (outside an edit list)

    @property
    def shown(self) -> np.ndarray:
        """Positions of the shown packets by time: `shown[i]` is the packet of frame i."""
        by_time = np.argsort(self.pts, kind="stable")
        return by_time[~self.discard[by_time]]


def packet_table(rows: Iterable[tuple[int | None, bool, bool]]) -> PacketTable | None:
    """Makes a table of (pts, is keyframe, is discarded) rows. None where stamps are missing or not unique."""
    pts, keyframe, discard = zip(*rows, strict=True) if (rows := list(rows)) else ((), (), ())
    if not pts or None in pts or len(set(pts)) < len(pts):
        return None
    return PacketTable(
        pts=np.array(pts, dtype=np.int64),
        keyframe=np.array(keyframe, dtype=bool),
        discard=np.array(discard, dtype=bool),
    )


def select_packets(table: PacketTable, frames: np.ndarray) -> tuple[range, ...]:
    """Selects the fewest packets that decode these frames (F,): disjoint ranges, each from a keyframe on, ascending.

    A picture shown before the keyframe that precedes it in the file (a leading picture of an open GOP) may
    refer to the GOP before, so its range begins one keyframe earlier.
    Raises InputError for an index outside the table and for a first packet that is no keyframe.
    """
    shown = table.shown
    frames = np.unique(frames)
    if not len(frames) or frames[0] < 0 or frames[-1] >= len(shown):
        raise InputError(f"frames: received {frames.tolist()}; accepted: indices from 0 to {len(shown) - 1}")
    if not table.keyframe[0]:
        raise InputError("packets: the first one is no keyframe")
    keyframes = np.flatnonzero(table.keyframe)
    positions = np.sort(shown[frames])
    gops = np.searchsorted(keyframes, positions, side="right") - 1
    leading = table.pts[positions] < table.pts[keyframes[gops]]
    starts = keyframes[np.maximum(gops - leading, 0)]
    starts = np.minimum.accumulate(starts[::-1])[::-1]  # a leading picture's range takes in those before it
    ranges: list[range] = []
    for start, position in zip(starts.tolist(), positions.tolist(), strict=True):
        if ranges and start <= ranges[-1].stop:
            ranges[-1] = range(ranges[-1].start, position + 1)
        else:
            ranges.append(range(start, position + 1))
    return tuple(ranges)


@contextmanager
def video_errors() -> Iterator[None]:
    """Turns whatever the container and codec libraries raise into VideoError with a short reason."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise VideoError("pictures too large for the memory") from error
    except (av.FFmpegError, OSError, EOFError) as error:
        raise VideoError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
    except (ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise VideoError(str(error) or type(error).__name__) from error


@contextmanager
def open_video(
    source: Path | str | bytes, *, headers_only: bool = False
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a container and its first video stream that is no cover. One thread decodes: workers are the parallelism.

    With `headers_only` no picture is decoded on opening an MP4: 0.4 instead of 1.3 ms, for reading packets alone.
    Raises VideoError where there is no video stream.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else f"file:{source}"
    options = HEADERS_ONLY if headers_only and _is_mp4(source) else {}
    with av.open(file, metadata_errors="ignore", **options) as container:
        if not container.streams.video:
            raise VideoError("no video stream")
        stream = next(filter(is_moving, container.streams.video), container.streams.video[0])
        if stream.codec_context is None:
            raise VideoError("no decoder for its codec")
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            raise VideoError(f"absurd size {stream.codec_context.width}x{stream.codec_context.height}")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container, stream


def is_moving(stream: av.VideoStream) -> bool:
    """Tells if a stream holds a video's frames, not its cover."""
    return not stream.disposition & av.stream.Disposition.attached_pic


def _is_mp4(source: Path | str | bytes) -> bool:
    if isinstance(source, bytes):
        return source[4:8] == b"ftyp"
    with open(source, "rb") as file:
        return file.read(8)[4:] == b"ftyp"


def demux(
    container: av.container.InputContainer, stream: av.VideoStream, *, last_frame: int | None = None
) -> Iterator[av.Packet]:
    """Yields the stream's packets in file order, one frame each; with `last_frame`, those that frames up to it need."""
    to_read = -1 if last_frame is None else last_frame + 1 + MAX_REORDER_FRAMES
    with closing(container.demux(stream)) as packets:  # PyAV's generators leak where they are left midway
        if container.format.name == "avi" and stream.codec_context.name == "mpeg4":
            packets = _stamped(_unpacked(packets, stream))
        for packet in packets:
            if packet.dts is None and packet.size == 0:
                return  # PyAV's own mark of the end
            yield packet
            to_read -= not packet.is_discard
            if to_read == 0:
                return


def _unpacked(packets: Iterable[av.Packet], stream: av.VideoStream) -> Iterator[av.Packet]:
    """Splits packets. DivX and XviD put a P- and a B-picture into one AVI packet and an empty one behind it."""
    unpack = av.BitStreamFilterContext("mpeg4_unpack_bframes", stream)
    for packet in packets:
        if packet.size:
            yield from unpack.filter(packet)


def _stamped(packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
    """Numbers MPEG-4 pictures as they are shown, since AVI has no presentation times.

    A B-picture is shown at once, any other when the next other one comes.
    """
    waiting: list[av.Packet] = []  # a reference, then the B-pictures before it in time
    num_shown = 0
    for packet in packets:
        if waiting and not is_b_picture(packet):
            yield from _numbered(waiting, num_shown)
            num_shown += len(waiting)
            waiting = []
        waiting.append(packet)
    yield from _numbered(waiting, num_shown)


def _numbered(packets: list[av.Packet], first: int) -> list[av.Packet]:
    for number, packet in enumerate(packets, first - 1):
        packet.pts = number
    if packets:
        packets[0].pts = first + len(packets) - 1
    return packets


def is_b_picture(packet: av.Packet) -> bool:
    """Tells if an MPEG-4 packet holds a B-VOP (ISO 14496-2, 6.2.5): no other picture refers to it."""
    data = bytes(packet)
    at = data.find(b"\x00\x00\x01\xb6")
    return 0 <= at < len(data) - 4 and data[at + 4] >> 6 == 2


def read_near(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    wanted: np.ndarray,
    *,
    is_entry: Callable[[av.Packet], bool] = lambda packet: True,
) -> tuple[PacketTable | None, dict[int, av.Packet]]:
    """Returns the table up to the last wanted frame, and {position: packet} of those that may have to be decoded.

    Keyframes that are no `is_entry` count as any other picture, but for the first packet. Of a long video only the
    neighborhood of the wanted frames is held in memory: a keyframe well before the first of them makes all before
    the previous keyframe superfluous.
    """
    rows: list[tuple[int | None, bool, bool]] = []
    packets: dict[int, av.Packet] = {}
    for packet in demux(container, stream, last_frame=int(wanted[-1])):
        position = len(rows)
        is_keyframe = packet.is_keyframe and (position == 0 or is_entry(packet))
        if is_keyframe and position <= wanted[0] - MAX_REORDER_FRAMES:
            previous = next((old for old in reversed(packets) if rows[old][1]), 0)
            packets = {old: kept for old, kept in packets.items() if old >= previous}
        packets[position] = packet
        rows.append((packet.pts, is_keyframe, packet.is_discard))
    return packet_table(rows), packets


def checked_frames(frames: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns presentation indices as (F,) int64. Raises InputError for none or negative ones."""
    asked = np.asarray(frames, dtype=np.int64)
    if asked.ndim != 1 or not len(asked) or asked.min() < 0:
        raise InputError(f"frames: received {asked.tolist()}; accepted: one or more indices from 0 on")
    return asked
