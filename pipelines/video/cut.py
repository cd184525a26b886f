"""The packets that some frames of a video need, as a small MP4 in memory; nothing is encoded anew.

DALI's decoder decodes everything from a file's first frame to the last one asked for. Of a random clip that is mostly
in vain, so the worker that reads the file cuts it first. Left out are the GOPs that no frame asked for lies in, and
inside the others the pictures that nothing refers to and nobody asked for; all decoders agree on the rest, bit for bit.

Legend: F frames asked for, N packets in decode order.
"""

import bisect
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipelines.errors import FileError, VideoError
from pipelines.video import sequence_parameters
from pipelines.video.container import MAX_REORDER_FRAMES, is_b_picture, open_video, reason_of, video_errors
from pipelines.video.mp4 import Mp4, open_mp4, write_mp4
from pipelines.video.nal_units import NalFormat
from pipelines.video.packets import PacketTable, checked_frames, read_near, select_packets

_TIME_BASE = Fraction(1, 25)
"""Time base of the small MP4. Frame k is shown at time k: times mean nothing there, order does."""
_FEW_BYTES = 1024
"""Bytes read from a large packet's start; its first slice is usually among them."""
_SMALL_BYTES = 1 << 15
"""Packets up to this size are read whole at once: in files of keyframes they are nearly always needed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """The bytes of a small video file, and which of its frames are the ones asked for."""

    content: bytes
    frames: np.ndarray  # (F,) int32, presentation indices
    all_keyframes: bool = False
    """Known to hold nothing but keyframes. A decoder then has no order of frames to guess."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """The packets (n) of a plain MP4 that decode some of its frames."""

    mp4: Mp4
    packets: list[bytes | memoryview]
    ranks: np.ndarray  # (n,): packet k is shown as number `ranks[k]` of these
    keyframe: np.ndarray  # (n,) bool
    frames: np.ndarray  # (F,) int32, presentation indices among these

    def as_cut(self) -> Cut:
        """The same as a file of its own."""
        content = write_mp4(self.mp4, self.packets, ranks=self.ranks, keyframe=self.keyframe)
        return Cut(content=content, frames=self.frames, all_keyframes=bool(self.keyframe.all()))


def cut(
    source: Path | str | bytes,
    frames: np.ndarray | Sequence[int],
    *,
    exact_seek: bool,
    droppable: bool = True,
    for_nvdec: bool = False,
) -> Cut:
    """Cuts out the part of a video that decodes to its `frames` (F,): presentation indices, any order, repeats allowed.

    Decoding `content` from its start and picking `Cut.frames` equals `decode_frames(source, frames)` on any decoder.
    Where a cut is not known to be exact (`VideoFacts.exact_seek`) the whole file is handed on unchanged. With
    `droppable` False, pictures that nothing refers to stay. With `for_nvdec`, cuts of plain MP4 files are such that
    DALI can decode them there, and show all the rows that are coded (`video.sequence_parameters`), the video's own ones
    first.
    Raises VideoError where the file cannot be read or has fewer frames; InputError for no or negative indices.
    """
    asked = checked_frames(frames)
    if exact_seek:
        wanted, slots = np.unique(asked, return_inverse=True)
        made = cut_short(source, wanted, droppable=droppable, for_nvdec=for_nvdec)
        if made is not None:
            return Cut(content=made.content, frames=made.frames[slots])
    return Cut(content=_whole(source), frames=asked.astype(np.int32))


def cut_short(
    source: Path | str | bytes, wanted: np.ndarray, *, droppable: bool = True, for_nvdec: bool = False
) -> Cut | None:
    """Cuts for ascending, distinct indices (F,). None where packets don't lead to them or no MP4 can hold them.

    Raises VideoError as `cut` does.
    """
    with video_errors():
        made = needed(source, wanted, droppable=droppable, for_nvdec=for_nvdec)
        return made.as_cut() if isinstance(made, Piece) else made


def needed(
    source: Path | str | bytes, wanted: np.ndarray, *, droppable: bool = True, for_nvdec: bool = False
) -> Piece | Cut | None:
    """What `cut_short` makes, as packets where the file is a plain MP4: those are read without FFmpeg, in a third of
    its time."""
    with video_errors():
        with open_mp4(source) as mp4:
            piece = None if mp4 is None else _piece_of(mp4, wanted, droppable=droppable, for_nvdec=for_nvdec)
        if piece is not None:
            return piece
        with open_video(source, headers_only=True) as (container, stream):
            return _cut_any(container, stream, wanted, droppable=droppable)


def _whole(source: Path | str | bytes) -> bytes:
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise FileError(reason_of(error)) from error
    if not content:
        raise FileError("empty file")
    return content


def _piece_of(mp4: Mp4, wanted: np.ndarray, *, droppable: bool, for_nvdec: bool) -> Piece | None:
    """Chooses by the file's own tables; None where they don't lead to the frames."""
    nal_format = NalFormat(is_h264=mp4.codec == "h264", length_size=mp4.length_size)
    table = _plain_table(mp4, wanted)
    if table is None:
        return None
    first_slices = _FirstSlices(mp4, nal_format)
    table = _with_entries(table, wanted, is_entry=lambda at: nal_format.is_entry(first_slices[at]))
    chosen = _chosen(table, wanted, may_follow=lambda at: nal_format.is_reset(first_slices[at]))
    packets = _packets(mp4, chosen, known=first_slices.whole)
    content, ends = b"".join(packets), np.cumsum(mp4.sizes[chosen])
    unneeded = nal_format.unneeded(content, ends) if droppable else None
    if for_nvdec and not nal_format.brings_sequence_parameters(content, ends):
        description = sequence_parameters.described_for_nvdec(mp4.description, codec=mp4.codec)
        mp4 = mp4 if description is None else replace(mp4, description=description)
    kept, ranks, frames = _kept(table, chosen, wanted, unneeded=unneeded)
    packets = [packets[index] for index in np.searchsorted(chosen, kept).tolist()]
    return Piece(mp4=mp4, packets=packets, ranks=ranks, keyframe=table.keyframe[kept], frames=frames)


def _plain_table(mp4: Mp4, wanted: np.ndarray) -> PacketTable | None:
    """Returns the table as far as it matters for the wanted frames; None where it doesn't lead to them."""
    num_packets = int(wanted[-1]) + 1 + MAX_REORDER_FRAMES
    pts, keyframe = mp4.pts[:num_packets], mp4.keyframe[:num_packets]
    if not keyframe[0] or not np.diff(np.sort(pts)).all():
        return None
    if wanted[-1] >= len(pts):
        raise VideoError(f"{len(pts)} frames readable, asked for frame {wanted[-1]}")
    return PacketTable(pts=pts, keyframe=keyframe, discard=np.zeros(len(pts), dtype=bool))


def _with_entries(table: PacketTable, wanted: np.ndarray, *, is_entry: Callable[[int], bool]) -> PacketTable:
    """Returns the table with those keyframes alone that the wanted frames begin at, where any decoder may begin.

    Asks `is_entry` of few keyframes: of those before each wanted frame, back to the one that is shown no later. For a
    leading picture that is the second.
    """
    marked = np.flatnonzero(table.keyframe).tolist()
    entries = {0}
    for position in table.shown[wanted].tolist():
        for candidate in reversed(marked[: bisect.bisect_right(marked, position)]):
            if candidate in entries or is_entry(candidate):
                entries.add(candidate)
                if table.pts[candidate] <= table.pts[position]:
                    break
    keyframe = np.zeros_like(table.keyframe)
    keyframe[list(entries)] = True
    return replace(table, keyframe=keyframe)


class _FirstSlices(dict[int, int | None]):
    """Types of the first slices of packets by position. Reads a packet's start when it is asked for, a small one whole.

    whole: {position: packet} of those read whole.
    """

    def __init__(self, mp4: Mp4, nal_format: NalFormat) -> None:
        super().__init__()
        self._mp4, self._nal_format = mp4, nal_format
        self.whole: dict[int, bytes] = {}

    def __missing__(self, position: int) -> int | None:
        offset, size = int(self._mp4.offsets[position]), int(self._mp4.sizes[position])
        start = self._mp4.read(offset, size if size <= _SMALL_BYTES else _FEW_BYTES)
        found = self._nal_format.first_slice(start)
        if len(start) == size:
            self.whole[position] = start
        elif found is None:
            found = self._nal_format.first_slice(self._mp4.read(offset, size))
        self[position] = found
        return found


def _packets(mp4: Mp4, chosen: np.ndarray, *, known: Mapping[int, bytes]) -> list[bytes | memoryview]:
    """Reads the packets of these positions, neighbors together. `known` ones are there already."""
    packets: list[bytes | memoryview] = []
    for positions in np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1):
        if len(positions) == 1 and (packet := known.get(int(positions[0]))):
            packets.append(packet)
            continue
        offsets, sizes = mp4.offsets[positions], mp4.sizes[positions]
        begin, end = int(offsets.min()), int((offsets + sizes).max())
        block = memoryview(mp4.read(begin, end - begin))
        if len(block) < end - begin:
            raise VideoError("the file became shorter while it was read")
        packets += [block[at : at + size] for at, size in zip((offsets - begin).tolist(), sizes.tolist(), strict=True)]
    return packets


def _cut_any(
    container: av.container.InputContainer, stream: av.VideoStream, wanted: np.ndarray, *, droppable: bool
) -> Cut | None:
    """Cuts by FFmpeg: for all other containers and codecs."""
    context = stream.codec_context
    nal_format = NalFormat.of_codec(context)
    table, packets = read_near(container, stream, wanted, is_entry=entry_test(context))
    if table is None or not table.keyframe[0]:
        return None
    if wanted[-1] >= len(table.shown):
        raise VideoError(f"{len(table.shown)} frames readable, asked for frame {wanted[-1]}")

    def may_follow(position: int) -> bool:
        return nal_format is None or nal_format.is_reset(nal_format.first_slice(bytes(packets[position])))

    chosen = _chosen(table, wanted, may_follow=may_follow)
    if chosen[0] not in packets:
        return None
    unneeded = None
    if droppable and nal_format is not None:
        coded = [bytes(packets[position]) for position in chosen.tolist()]
        unneeded = nal_format.unneeded(b"".join(coded), np.cumsum([len(packet) for packet in coded]))
    elif droppable and context.name == "mpeg4":
        unneeded = np.array([is_b_picture(packets[position]) for position in chosen.tolist()])
    kept, ranks, frames = _kept(table, chosen, wanted, unneeded=unneeded)
    content = _remuxed(stream, [packets[position] for position in kept.tolist()], ranks)
    return None if content is None else Cut(content=content, frames=frames)


def entry_test(context: av.VideoCodecContext) -> Callable[[av.Packet], bool]:
    """Returns a test of keyframe packets: may any decoder begin there (`NalFormat.is_entry`)?

    Codecs without NAL units begin at every keyframe.
    """
    nal_format = NalFormat.of_codec(context)
    if nal_format is None:
        return lambda packet: True
    return lambda packet: nal_format.is_entry(nal_format.first_slice(bytes(packet)))


def _chosen(table: PacketTable, wanted: np.ndarray, *, may_follow: Callable[[int], bool]) -> np.ndarray:
    """Returns the positions (n,), ascending, of the packets that decode the wanted frames, before any is dropped.

    Packets before a keyframe that may not follow another GOP stay in. Leading pictures refer to the GOP before theirs.
    If that GOP is not in the cut, they are left out: no frame asked for is among them. At the very start of a video
    only the hidden ones are left out: those that are shown can be decoded.
    """
    ranges = select_packets(table, wanted)
    joined = [ranges[0]]
    for positions in ranges[1:]:
        if may_follow(positions.start):
            joined.append(positions)
        else:
            joined[-1] = range(joined[-1].start, positions.stop)
    chosen: list[np.ndarray] = []
    for positions in joined:
        if len(positions) == 1:
            chosen.append(np.array([positions.start]))
            continue
        inside = slice(positions.start, positions.stop)
        is_leading = table.pts[inside] < table.pts[positions.start]
        if positions.start == 0:
            is_leading &= table.discard[inside]
        chosen.append(positions.start + np.flatnonzero(~is_leading))
    return np.concatenate(chosen)


def _kept(
    table: PacketTable, chosen: np.ndarray, wanted: np.ndarray, *, unneeded: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drops the `unneeded` (n,) bool packets of `chosen` (n,) that nobody asked for.

    Returns (positions kept, their ranks in order of presentation, ranks of the wanted frames (F,) int32).
    """
    asked = table.shown[wanted]
    kept = chosen if unneeded is None else chosen[~unneeded | np.isin(chosen, asked)]
    ranks = np.argsort(np.argsort(table.pts[kept]))
    return kept, ranks, ranks[np.searchsorted(kept, asked)].astype(np.int32)


def _remuxed(stream: av.VideoStream, packets: list[av.Packet], ranks: np.ndarray) -> bytes | None:
    """Writes the packets as one MP4: packet k is decoded at time k and shown as number `ranks[k]`.

    None where FFmpeg puts no such codec into MP4.
    """
    if stream.codec_context.name not in _mp4_codecs():
        return None
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


@functools.cache
def _mp4_codecs() -> frozenset[str]:
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        return frozenset(container.supported_codecs)
