"""Which packets of a video some frames need, by the times and kinds of packets alone.

Legend: N packets of the stream in decode order, F frames asked for, H x W pixels.
A packet's order in the file is the order of decoding; a frame's index is its rank by time stamp (pts).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import av
import numpy as np

from pipelines.errors import InputError
from pipelines.video.container import MAX_REORDER_FRAMES, demux


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
