"""The packets that some frames of a video need, as a small MP4 in memory; nothing is encoded anew.

DALI's decoder decodes everything from a file's first frame to the last one asked for. Of a random clip that is mostly
in vain, so the worker that reads the file cuts it first. Left out are the GOPs that no frame asked for lies in, and
inside the others the pictures that nothing refers to and nobody asked for; all decoders agree on the rest, bit for bit.

Legend: F frames asked for, N packets in decode order.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipelines.decode import PacketTable, is_b_picture, open_video, read_near, select_packets, video_errors
from pipelines.errors import InputError, VideoError

_H264_IDR = 5
_H264_SLICES = range(1, 6)
_H264_PARAMETER_SETS = (7, 8, 13, 15)
_HEVC_SLICES = range(0, 32)
_HEVC_IDR = (19, 20)
_HEVC_RANDOM_ACCESS = range(16, 22)  # BLA, IDR, CRA
_HEVC_NO_REFERENCE = range(0, 16, 2)  # for pictures of the same temporal sub-layer
_HEVC_PARAMETER_SETS = (32, 33, 34)
_TIME_BASE = Fraction(1, 25)
"""Of the small MP4, in which frame k is shown at time k: its times mean nothing, its order does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """A video file's bytes, and which of its frames, in order of presentation, are the ones asked for."""

    content: bytes
    frames: np.ndarray  # (F,) int32


def cut(source: Path | str | bytes, frames: np.ndarray, *, exact_seek: bool, droppable: bool = True) -> Cut:
    """The part of a video that decodes to its `frames` (F,), presentation indices in any order, with repetitions.

    Decoding `content` from its start and picking `Cut.frames` equals `decode_frames(source, frames)` on any decoder.
    Where a cut is not known to be exact (`VideoFacts.exact_seek`) the whole file is handed on unchanged. With
    `droppable` False, pictures that nothing refers to stay.
    Raises VideoError where the file cannot be read or has fewer frames; InputError for no or negative indices.
    """
    asked = np.asarray(frames, dtype=np.int64)
    if asked.ndim != 1 or not len(asked) or asked.min() < 0:
        raise InputError(f"frames: got {asked.tolist()}, accepted: one or more indices from 0 on")
    if exact_seek:
        wanted, slots = np.unique(asked, return_inverse=True)
        with video_errors():
            made = _cut(source, wanted, droppable=droppable)
        if made is not None:
            return Cut(content=made.content, frames=made.frames[slots])
    return Cut(content=_whole(source), frames=asked.astype(np.int32))


def _whole(source: Path | str | bytes) -> bytes:
    with video_errors():
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    if not content:
        raise VideoError("empty file")
    return content


def _cut(source: Path | str | bytes, wanted: np.ndarray, *, droppable: bool) -> Cut | None:
    """The cut for ascending indices; None where packets don't lead to them."""
    with open_video(source, headers_only=True) as (container, stream):
        context = stream.codec_context
        table, packets = read_near(container, stream, wanted, is_entry=entry_test(context))
        if table is None or not table.keyframe[0]:
            return None
        if wanted[-1] >= len(table.shown):
            raise VideoError(f"{len(table.shown)} frames readable, asked for frame {wanted[-1]}")
        asked = table.shown[wanted]
        ranges = _joined(context, packets, select_packets(table, wanted))
        if ranges[0].start not in packets:
            return None
        kept = _kept(context, table, packets, ranges=ranges, asked=frozenset(asked.tolist()), droppable=droppable)
        ranks = np.argsort(np.argsort(table.pts[kept]))
        content = _mp4(stream, [packets[position] for position in kept], ranks)
    return Cut(content=content, frames=ranks[np.searchsorted(kept, asked)].astype(np.int32))


class NalUnits:
    """Reads the types of the NAL units in a stream's packets: H.264 and HEVC.

    They lie behind their lengths (ISO 14496-15; the decoder configuration says how long a length is), or behind start
    codes (Annex B).
    """

    def __init__(self, context: av.VideoCodecContext) -> None:
        self.is_h264 = context.name == "h264"
        extradata, length_at = context.extradata or b"", 4 if self.is_h264 else 21
        has_lengths = len(extradata) > length_at and extradata[0] == 1
        self._length_size = (extradata[length_at] & 3) + 1 if has_lengths else 0

    def __call__(self, packet: av.Packet) -> list[tuple[int, int, int]]:
        """(type, first byte, second byte) of each."""
        data = bytes(packet)
        starts = _behind_lengths(data, self._length_size) if self._length_size else _behind_start_codes(data)
        headers = [(data[at], data[at + 1]) for at in starts if at + 1 < len(data)]
        return [(first & 31 if self.is_h264 else first >> 1 & 63, first, second) for first, second in headers]


def _behind_lengths(data: bytes, length_size: int) -> Iterator[int]:
    at = 0
    while at + length_size < len(data):
        yield at + length_size
        at += length_size + int.from_bytes(data[at : at + length_size], "big")


def _behind_start_codes(data: bytes) -> Iterator[int]:
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        yield at + 3
        at = data.find(b"\x00\x00\x01", at + 3)


def entry_test(context: av.VideoCodecContext) -> Callable[[av.Packet], bool]:
    """Says of a keyframe's packet whether any decoder may begin there.

    Containers also mark H.264 recovery points, which decoders treat differently, and some mark every packet. H.264
    needs an IDR picture, HEVC an IDR, BLA or CRA one; all keyframes of other codecs will do.
    """
    if context.name not in ("h264", "hevc"):
        return lambda packet: True
    nal_units = NalUnits(context)
    slices = _H264_SLICES if nal_units.is_h264 else _HEVC_SLICES
    entries = (_H264_IDR,) if nal_units.is_h264 else _HEVC_RANDOM_ACCESS
    return lambda packet: next((kind in entries for kind, *_ in nal_units(packet) if kind in slices), False)


def _joined(
    context: av.VideoCodecContext, packets: dict[int, av.Packet], ranges: tuple[range, ...]
) -> tuple[range, ...]:
    """Ranges that may follow each other in one stream: an HEVC CRA picture resets a decoder only at the very start, so
    that what lies before a later one stays in."""
    if context.name != "hevc":
        return ranges
    nal_units = NalUnits(context)
    joined = [ranges[0]]
    for chosen in ranges[1:]:
        if any(kind in _HEVC_IDR for kind, *_ in nal_units(packets[chosen.start])):
            joined.append(chosen)
        else:
            joined[-1] = range(joined[-1].start, chosen.stop)
    return tuple(joined)


def _kept(
    context: av.VideoCodecContext,
    table: PacketTable,
    packets: dict[int, av.Packet],
    *,
    ranges: tuple[range, ...],
    asked: frozenset[int],
    droppable: bool,
) -> np.ndarray:
    """Positions (n,) of the packets that go into the cut, ascending.

    A range's leading pictures go in any case, but for those that a video begins with: they refer to a GOP that is not
    there, and are never asked for.
    """
    chosen: list[int] = []
    for positions in ranges:
        first = table.pts[positions.start] if positions.start else table.pts.min()
        chosen += (positions.start + np.flatnonzero(table.pts[positions.start : positions.stop] >= first)).tolist()
    unneeded: set[int] = set()
    if droppable and context.name == "hevc":
        unneeded = _unneeded_hevc(NalUnits(context), packets, chosen)
    elif droppable and context.name == "h264":
        nal_units = NalUnits(context)
        unneeded = {p for p in chosen if p not in asked and _unneeded_h264(nal_units, packets[p])}
    elif droppable and context.name == "mpeg4":
        unneeded = {p for p in chosen if p not in asked and is_b_picture(packets[p])}
    return np.array([p for p in chosen if p in asked or p not in unneeded])


def _unneeded_h264(nal_units: NalUnits, packet: av.Packet) -> bool:
    """Whether no picture refers to this one (nal_ref_idc 0 in all its slices) and it brings no parameter sets."""
    num_slices = 0
    for kind, first, _ in nal_units(packet):
        if kind in _H264_PARAMETER_SETS or (kind in _H264_SLICES and first & 0x60):
            return False
        num_slices += kind in _H264_SLICES
    return num_slices > 0


def _unneeded_hevc(nal_units: NalUnits, packets: dict[int, av.Packet], chosen: list[int]) -> set[int]:
    """Pictures of the highest temporal sub-layer that no other of it refers to, without parameter sets."""
    layer_of, free = {}, set()
    for position in chosen:
        units = nal_units(packets[position])
        slices = [(kind, second & 7) for kind, _, second in units if kind in _HEVC_SLICES]
        layer_of[position] = max((layer for _, layer in slices), default=0)
        brings_sets = any(kind in _HEVC_PARAMETER_SETS for kind, *_ in units)
        if slices and not brings_sets and all(kind in _HEVC_NO_REFERENCE for kind, _ in slices):
            free.add(position)
    top = max(layer_of.values())
    return {position for position in free if layer_of[position] == top}


def _mp4(stream: av.VideoStream, packets: list[av.Packet], ranks: np.ndarray) -> bytes:
    """The packets as one MP4: the k-th is decoded at time k and shown in the order of `ranks`."""
    delay = int(max(0, (np.arange(len(ranks)) - ranks).max()))  # nothing is shown before it is decoded
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"use_editlist": "0"}) as container:
        copied = container.add_stream_from_template(stream, opaque=True)
        copied.time_base = _TIME_BASE
        for time, (packet, rank) in enumerate(zip(packets, ranks.tolist(), strict=True)):
            packet.stream = copied
            packet.time_base = _TIME_BASE
            packet.pts, packet.dts, packet.duration = rank + delay, time, 1
            container.mux_one(packet)
    return file.getvalue()
