"""MP4 files without a container library: finds the packets of a file, and writes small files.

Only the plainest kind is read, which nearly all files are: one video track of H.264 or HEVC, all of it described in one
`moov` box, an edit list that hides nothing. What else comes is None, and left to FFmpeg.

Legend: N packets of the track in decode order, n packets written, C chunks of the file.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

_CODECS = {b"avc1": "h264", b"avc3": "h264", b"hvc1": "hevc", b"hev1": "hevc"}
CONFIGURATIONS = {"h264": (b"avcC", 4), "hevc": (b"hvcC", 21)}
"""The box that says how many bytes the length of a NAL unit has, and which of its bytes says so."""
ENTRY_AT = 8
"""Where the first sample entry of `stsd` begins, behind version, flags and count."""
SIZE_AT, BOXES_AT = ENTRY_AT + 32, ENTRY_AT + 86
"""Where width and height, and the boxes in it, stand in a VisualSampleEntry (ISO 14496-12, 12.1.3)."""
_MAX_TOP_BOXES = 64
_MATRIX = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_FRAMES_PER_SECOND = 25
"""Time scale of files written. Frame k is shown at time k: times mean nothing there, order does."""

_Boxes = dict[bytes, list[memoryview]]


class _NotPlainError(Exception):
    """Something that is left to FFmpeg."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mp4:
    """An opened file, and where its packets lie in it."""

    file: BinaryIO
    codec: str  # h264 or hevc
    length_size: int  # bytes of the length before each NAL unit
    description: bytes  # what the `stsd` box holds: codec, size, parameter sets, colors
    pts: np.ndarray  # (N,) int64
    keyframe: np.ndarray  # (N,) bool
    offsets: np.ndarray  # (N,) int64, from the start of the file
    sizes: np.ndarray  # (N,) int64, bytes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        width, height = struct.unpack_from(">HH", self.description, SIZE_AT)
        return width, height

    @property
    def configuration(self) -> bytes:
        """What a decoder is told before the first packet."""
        return bytes(_boxes(_of_entry(self.description))[CONFIGURATIONS[self.codec][0]][0])

    @property
    def says_colors(self) -> bool:
        """Whether the file says colors beside the stream itself."""
        return b"colr" in _boxes(_of_entry(self.description))

    def read(self, first: int, num_bytes: int) -> bytes:
        """Reads `num_bytes` bytes of the file from `first` on; fewer at its end."""
        self.file.seek(first)
        return self.file.read(num_bytes)


@contextmanager
def open_mp4(source: Path | str | bytes) -> Iterator[Mp4 | None]:
    """Opens a file as `Mp4`; None where it is of another kind or damaged. Raises OSError where it cannot be read."""
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb", buffering=0) as file:
        try:
            opened = _open(file)
        except _READING_ERRORS:
            opened = None
        yield opened


_READING_ERRORS = (_NotPlainError, struct.error, LookupError, ValueError, OverflowError)


def claims_too_much(path: Path) -> bool:
    """Tells if an MP4's headers claim more packets than its bytes hold: FFmpeg would take gigabytes for them.

    Sound may claim more, as its packets have few bytes and files break off.
    """
    with open(path, "rb", buffering=0) as file:
        try:
            tracks = _boxes(_movie(file)).get(b"trak", [])
            num_bytes = file.seek(0, io.SEEK_END)
            for track in map(_boxes, tracks):
                media = _boxes(track[b"mdia"][0])
                table = _boxes(_boxes(media[b"minf"][0])[b"stbl"][0])
                size, number = struct.unpack_from(">4xII", table[b"stsz"][0])
                if number * max(size, 1) > num_bytes * (1 if _is_video(track) else 16):
                    return True
        except _READING_ERRORS:
            return False
    return False


def _open(file: BinaryIO) -> Mp4:
    movie = _boxes(_movie(file))
    _demand(b"mvex" not in movie)  # the rest of it in fragments
    (track,) = (track for track in map(_boxes, movie[b"trak"]) if _is_video(track))
    media = _boxes(track[b"mdia"][0])
    table = _boxes(_boxes(media[b"minf"][0])[b"stbl"][0])
    description = table[b"stsd"][0]
    codec, length_size = _coding(description)
    sizes = _sizes(table[b"stsz"][0])
    pts = _times(table, len(sizes))
    if b"edts" in track:
        scale_media, scale_movie = _time_scale(media[b"mdhd"][0]), _time_scale(movie[b"mvhd"][0])
        first, end = _shown(_boxes(track[b"edts"][0])[b"elst"][0], scale_media=scale_media, scale_movie=scale_movie)
        _demand(first <= pts.min() and pts.max() < end)
    offsets = _offsets(table, sizes)
    _demand(offsets.min() >= 0 and (offsets + sizes).max() <= file.seek(0, io.SEEK_END))
    keyframe = np.ones(len(sizes), dtype=bool)
    if b"stss" in table:
        keyframe[:] = False
        keyframe[_rows(table[b"stss"][0], 1)[:, 0] - 1] = True
    return Mp4(
        file=file,
        codec=codec,
        length_size=length_size,
        description=bytes(description),
        pts=pts,
        keyframe=keyframe,
        offsets=offsets,
        sizes=sizes,
    )


def _demand(is_plain: bool) -> None:
    if not is_plain:
        raise _NotPlainError


def _movie(file: BinaryIO) -> memoryview:
    """Returns the content of the file's `moov` box."""
    at = 0
    for number in range(_MAX_TOP_BOXES):
        file.seek(at)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        _demand(number > 0 or kind == b"ftyp")
        num_head = 8
        if size == 1:
            size, num_head = struct.unpack_from(">Q", head, 8)[0], 16
        _demand(size >= num_head)
        if kind == b"moov":
            _demand(at + size <= file.seek(0, io.SEEK_END))
            file.seek(at + num_head)
            return memoryview(file.read(size - num_head))
        at += size
    raise _NotPlainError


def _boxes(data: memoryview) -> _Boxes:
    """Finds the boxes that lie side by side in another one, by kind."""
    found: _Boxes = {}
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        _demand(8 <= size <= len(data) - at)
        found.setdefault(kind, []).append(data[at + 8 : at + size])
        at += size
    return found


def _is_video(track: _Boxes) -> bool:
    return bytes(_boxes(track[b"mdia"][0])[b"hdlr"][0][8:12]) == b"vide"


def _of_entry(description: bytes | memoryview) -> memoryview:
    """Returns the boxes in the one sample entry."""
    (size,) = struct.unpack_from(">8xI", description)
    return memoryview(description)[BOXES_AT : ENTRY_AT + size]


def _coding(description: memoryview) -> tuple[str, int]:
    """Returns (codec, bytes of a NAL unit's length) of the one sample entry."""
    number, kind = struct.unpack_from(">4xI4x4s", description)
    _demand(number == 1 and kind in _CODECS)
    codec = _CODECS[kind]
    box, length_at = CONFIGURATIONS[codec]
    configuration = _boxes(_of_entry(description))[box][0]
    _demand(configuration[0] == 1)
    return codec, (configuration[length_at] & 3) + 1


def _rows(data: memoryview, num_columns: int, dtype: str = ">u4") -> np.ndarray:
    """Reads a box that is a table (version and flags, number of rows, rows): (rows, columns) int64."""
    (number,) = struct.unpack_from(">4xI", data)
    return np.frombuffer(data, dtype, number * num_columns, 8).reshape(number, num_columns).astype(np.int64)


def _sizes(data: memoryview) -> np.ndarray:
    (size,) = struct.unpack_from(">4xI", data)
    _demand(size == 0)  # else all packets are of one size
    sizes = _rows(data[4:], 1)[:, 0]
    _demand(len(sizes) > 0 and sizes.min() > 0)
    return sizes


def _times(table: _Boxes, num_packets: int) -> np.ndarray:
    """Returns the time at which each packet is shown, (N,) int64."""
    durations = _repeated(_rows(table[b"stts"][0], 2, ">i4"), num_packets)
    _demand(durations.min() >= 0)
    pts = np.cumsum(durations) - durations
    return pts + _repeated(_rows(table[b"ctts"][0], 2, ">i4"), num_packets) if b"ctts" in table else pts


def _repeated(runs: np.ndarray, total: int) -> np.ndarray:
    """Repeats the values of (how often, value) rows: (total,)."""
    counts, values = runs.T
    _demand(counts.min() >= 0 and counts.sum() == total)
    return values.repeat(counts)


def _offsets(table: _Boxes, sizes: np.ndarray) -> np.ndarray:
    """Returns where the packets begin, (N,) bytes. Those of a chunk lie one behind the other."""
    is_wide = b"co64" in table
    chunks = _rows(table[b"co64" if is_wide else b"stco"][0], 1, ">u8" if is_wide else ">u4")[:, 0]  # (C,)
    first_chunk, num_packets, description = _rows(table[b"stsc"][0], 3).T
    _demand(bool((description == 1).all()) and first_chunk[0] == 1)
    per_chunk = _repeated(np.stack([np.diff(first_chunk, append=len(chunks) + 1), num_packets], axis=1), len(chunks))
    _demand(per_chunk.sum() == len(sizes))
    before = np.cumsum(sizes) - sizes
    first_packet = np.cumsum(per_chunk) - per_chunk
    chunk_of = np.arange(len(chunks)).repeat(per_chunk)
    return chunks[chunk_of] + before - before[first_packet[chunk_of]]


def _time_scale(header: memoryview) -> int:
    """Returns the units a second of an `mvhd` or `mdhd` box."""
    return struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)[0]


def _shown(edits: memoryview, *, scale_media: int, scale_movie: int) -> tuple[int, int]:
    """Returns first and end of the one stretch of time that is shown, in the media's units, as FFmpeg rounds it."""
    form = ">QqI" if edits[0] == 1 else ">IiI"
    (number,) = struct.unpack_from(">4xI", edits)
    rows = [struct.unpack_from(form, edits, 8 + k * struct.calcsize(form)) for k in range(min(number, 3))]
    if len(rows) == 2 and rows[0][1] == -1:
        rows = rows[1:]  # a pause before it
    ((duration, first, speed),) = rows
    _demand(first >= 0 and speed == 1 << 16)
    return first, first + (duration * scale_media + scale_movie // 2) // scale_movie


def write_mp4(mp4: Mp4, packets: Sequence[bytes | memoryview], *, ranks: np.ndarray, keyframe: np.ndarray) -> bytes:
    """Writes n packets as a file of their own, coded as `mp4` is.

    ranks (n,): packet k is decoded at time k and shown as number `ranks[k]`. keyframe (n,) bool: any decoder may begin
    there.
    """
    number, times = len(packets), np.arange(len(packets))
    delay = max(0, int((times - ranks).max()))  # nothing is shown before it is decoded
    waits = np.stack([np.ones_like(ranks), ranks + delay - times], axis=1)
    head = _box(b"ftyp", b"isom", bytes(4), b"isom", b"iso2", b"mp41")
    width, height = mp4.size
    table = _box(
        b"stbl",
        _box(b"stsd", mp4.description),
        _table(b"stts", np.array([[number, 1]])),
        _table(b"ctts", waits),
        _table(b"stss", np.flatnonzero(keyframe) + 1),
        _table(b"stsc", np.array([[1, number, 1]])),
        _box(b"stsz", bytes(8), struct.pack(">I", number), _numbers(np.array([len(packet) for packet in packets]))),
        _table(b"stco", np.array([len(head) + 8])),
    )
    media = _box(
        b"mdia",
        _box(b"mdhd", struct.pack(">12xIIHH", _FRAMES_PER_SECOND, number + delay, 0x55C4, 0)),
        _box(b"hdlr", struct.pack(">8x4s13x", b"vide")),
        _box(b"minf", _box(b"vmhd", struct.pack(">I8x", 1)), _DATA_HERE, table),
    )
    clock = struct.pack(">12xIIIH10x", _FRAMES_PER_SECOND, number + delay, 1 << 16, 1 << 8)
    track_header = (
        struct.pack(">I8xI4xI16x", 3, 1, number + delay) + _MATRIX + struct.pack(">HHHH", width, 0, height, 0)
    )
    movie = _box(
        b"moov",
        _box(b"mvhd", clock, _MATRIX, bytes(24), struct.pack(">I", 2)),
        _box(b"trak", _box(b"tkhd", track_header), media),
    )
    return b"".join([head, _box(b"mdat", *packets), movie])


def _box(kind: bytes, *parts: bytes | memoryview) -> bytes:
    return b"".join([struct.pack(">I4s", 8 + sum(map(len, parts)), kind), *parts])


def _table(kind: bytes, rows: np.ndarray) -> bytes:
    return _box(kind, struct.pack(">4xI", len(rows)), _numbers(rows))


def _numbers(values: np.ndarray) -> bytes:
    return values.astype(">u4").tobytes()


_DATA_HERE = _box(b"dinf", _box(b"dref", struct.pack(">4xI", 1), _box(b"url ", struct.pack(">I", 1))))
"""The packets lie in the same file."""
