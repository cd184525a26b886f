"""One video file opened by FFmpeg: its stream, its packets and its frames, within limits of time and memory."""

import io
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import av

from pipelines.errors import FileError, InputError, VideoError

MAX_PIXELS = 1 << 25
"""Most pixels of a picture: 8K video just fits. More come from broken headers; refusing them saves gigabytes."""

DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}

MAX_PACKETS = 1 << 23
"""Most packets of a stream, 38 hours at 60 a second: a table of them still fits the memory."""

GRACE_SECONDS, SECONDS_PER_MEGAPIXEL = 60.0, 0.1
"""Processor time that a file may take: the grace, and so much more for each million pixels that were read."""

# fmt: off
DEMUXERS = (
    "3gp", "amv", "apng", "asf", "asf_o", "av1", "avi", "avs2", "avs3", "cavsvideo", "dirac", "dv", "evc", "flv", "gif",
    "gxf", "h261", "h263", "h264", "hevc", "ipu", "ivf", "kux", "live_flv", "lxf", "m4v", "matroska", "mjpeg",
    "mjpeg_2000", "mov", "mp4", "mpeg", "mpegts", "mpegvideo", "mxf", "nsv", "nut", "nuv", "obu", "ogg", "rm", "swf",
    "vc1", "vc1test", "vvc", "webm", "wtv", "yuv4mpegpipe",
)
# fmt: on
"""Containers that hold a video themselves. None that name other files or addresses (concat, playlists, sdp), and none
that take any text or any picture for a video."""

_SELF_CONTAINED = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "file"}
_HEADERS_ONLY = {"probesize": "32"}
"""Opens a container whose headers say all that is needed. Else FFmpeg decodes a few frames to guess the delay."""
_SKIP_FRAMES = [{"skip_frame": "all"}] * 16
"""One a stream, more than enough of them."""

MAX_REORDER_FRAMES = 32
"""A frame's rank and its place in the file differ by less than this (H.264 and HEVC allow 16)."""


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
        raise VideoError(reason_of(error)) from error
    except (ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise VideoError(str(error) or type(error).__name__) from error


def reason_of(error: Exception) -> str:
    """Returns the library's words for an error, without the path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@contextmanager
def open_video(
    source: Path | str | bytes, *, headers_only: bool = False
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a container and its video stream. One thread decodes: workers are the parallelism.

    Of several streams the one marked default is taken, else the first; a cover only where there is nothing else.
    FFmpeg opens no other file and no address, whatever the container names. With `headers_only` no picture is decoded
    on opening an MP4: 0.4 instead of 1.3 ms, for reading packets alone.
    Raises FileError where there is no video stream, or one of absurd size.
    """
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else f"file:{source}"
    options: dict[str, Any] = {"options": _SELF_CONTAINED}
    if headers_only and _is_mp4(source):
        options = {"options": _SELF_CONTAINED | _HEADERS_ONLY, "stream_options": _SKIP_FRAMES}
    try:
        opened = av.open(file, metadata_errors="ignore", **options)
    except av.error.ArgumentError as error:  # FFmpeg's word for a container that is not among DEMUXERS
        raise FileError("not a video: no readable header of a video file") from error
    except av.error.InvalidDataError as error:
        if (len(source) if isinstance(source, bytes) else Path(source).stat().st_size) == 0:
            raise FileError("empty file") from error
        raise FileError(reason_of(error)) from error
    except av.FFmpegError as error:
        raise FileError(reason_of(error)) from error
    with opened as container:
        if not container.streams.video:
            raise FileError("no video stream")
        stream = chosen_stream(container.streams.video)
        if stream.codec_context is None:
            raise FileError("no decoder for its codec")
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            raise FileError(f"absurd size {stream.codec_context.width}x{stream.codec_context.height}")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = DECODER_OPTIONS
        yield container, stream


def chosen_stream(streams: Sequence[av.VideoStream]) -> av.VideoStream:
    """Returns the stream that players show: the default one of those that move, else the first."""
    moving = [stream for stream in streams if is_moving(stream)] or list(streams)
    return next((stream for stream in moving if stream.disposition & av.stream.Disposition.default), moving[0])


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
    allowance = Allowance.of(stream)
    with closing(_all_packets(container, stream)) as plain:
        packets: Iterable[av.Packet] = plain
        if container.format.name == "avi" and stream.codec_context.name == "mpeg4":
            packets = _stamped(_unpacked(plain, stream))
        for packet in packets:
            if packet.dts is None and packet.size == 0:
                return  # PyAV's own mark of the end
            allowance.spend()
            yield packet
            to_read -= not packet.is_discard
            if to_read == 0:
                return


def _all_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Generator[av.Packet, None, None]:
    """PyAV's own packets, to be closed by whoever leaves midway: a dropped generator leaks 150 bytes."""
    return cast("Generator[av.Packet, None, None]", container.demux(stream))


def decode_all(container: av.container.InputContainer, stream: av.VideoStream) -> Generator[av.VideoFrame, None, None]:
    """Yields the stream's frames from the start on, as the decoder gives them. May be left midway.

    Raises FileError where the file takes more time than `Allowance` allows.
    """
    # Not `container.decode`: that keeps a generator of packets of its own, which leaks where it is left midway.
    allowance = Allowance.of(stream)
    with closing(_all_packets(container, stream)) as packets:
        for packet in packets:
            allowance.spend()
            yield from stream.codec_context.decode(packet)  # the last one is empty and flushes the decoder


def decode_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Yields the frames of `demux`'s packets, to be read to the end. Their time stamps are those of the packets."""
    for packet in demux(container, stream):
        yield from stream.codec_context.decode(packet)
    yield from stream.codec_context.decode(None)


class Allowance:
    """The time and length that one file is allowed, so that none stops a run. Counts the processor time of this thread.

    A disk that does not answer is waited for: that is no fault of the file.
    """

    def __init__(self, *, num_pixels: int) -> None:
        self._begin = time.thread_time()
        self._seconds_each = SECONDS_PER_MEGAPIXEL * max(1.0, num_pixels / 1e6)
        self._num_packets = 0

    @classmethod
    def of(cls, stream: av.VideoStream) -> "Allowance":
        """By the size of the stream's pictures."""
        return cls(num_pixels=stream.codec_context.width * stream.codec_context.height)

    def spend(self) -> None:
        """Counts one packet. Raises FileError where there are too many, or they took too long."""
        self._num_packets += 1
        if self._num_packets > MAX_PACKETS:
            raise FileError(f"more than {MAX_PACKETS} packets")
        seconds = time.thread_time() - self._begin
        if seconds > GRACE_SECONDS + self._num_packets * self._seconds_each:
            raise FileError(f"too slow: {seconds:.0f} s of processor time for {self._num_packets} packets")


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
