"""Which H.264 and HEVC packets begin a video or can be dropped, read from NAL unit headers alone.

Legend: n packets, m NAL units of all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import av
import numpy as np

_H264_IDR = (5,)
_H264_SLICES = range(1, 6)
_H264_PARAMETER_SETS = (7, 8, 13, 15)
_HEVC_IDR = (19, 20)
_HEVC_SLICES = range(0, 32)
_HEVC_RANDOM_ACCESS = range(16, 22)  # BLA, IDR, CRA
_HEVC_NO_REFERENCE = range(0, 16, 2)  # for pictures of the same temporal sub-layer
_HEVC_PARAMETER_SETS = (32, 33, 34)

_Bytes = TypeVar("_Bytes", int, np.ndarray)


@dataclass(frozen=True, kw_only=True)
class NalFormat:
    """How a stream's NAL units are told apart: behind lengths of `length_size` bytes (ISO 14496-15), or, where that is
    0, behind start codes (Annex B)."""

    is_h264: bool  # else HEVC
    length_size: int

    @classmethod
    def of_codec(cls, context: av.VideoCodecContext) -> "NalFormat | None":
        """Reads the format from the decoder's configuration; None for codecs without NAL units."""
        if context.name not in ("h264", "hevc"):
            return None
        is_h264 = context.name == "h264"
        extradata, length_at = context.extradata or b"", 4 if is_h264 else 21
        has_lengths = len(extradata) > length_at and extradata[0] == 1
        return cls(is_h264=is_h264, length_size=(extradata[length_at] & 3) + 1 if has_lengths else 0)

    def kind(self, first_byte: _Bytes) -> _Bytes:
        """Returns the type of a NAL unit by its first byte; the types of many by an array of them."""
        return first_byte & 31 if self.is_h264 else first_byte >> 1 & 63

    def first_slice(self, packet: bytes) -> int | None:
        """Returns the type of a packet's first slice; None where it has none."""
        starts = _behind_lengths(packet, self.length_size) if self.length_size else _behind_start_codes(packet)
        slices = _H264_SLICES if self.is_h264 else _HEVC_SLICES
        kinds = (self.kind(packet[at]) for at in starts if at < len(packet))
        return next((kind for kind in kinds if kind in slices), None)

    def is_entry(self, first_slice: int | None) -> bool:
        """Tells if any decoder may begin at a keyframe whose first slice is of this type.

        Containers also mark H.264 recovery points, which decoders treat differently, and some mark every packet. H.264
        needs an IDR picture, HEVC an IDR, BLA or CRA one.
        """
        return first_slice in (_H264_IDR if self.is_h264 else _HEVC_RANDOM_ACCESS)

    def is_reset(self, first_slice: int | None) -> bool:
        """Tells if such a keyframe may follow another GOP. An HEVC CRA picture resets a decoder only at the start."""
        return first_slice in (_H264_IDR if self.is_h264 else _HEVC_IDR)

    @property
    def sequence_parameters(self) -> int:
        """The type of a NAL unit that holds a sequence parameter set."""
        return 7 if self.is_h264 else 33

    def brings_sequence_parameters(self, data: bytes, ends: np.ndarray) -> bool:
        """Whether one of the packets, as `unneeded` takes them, holds a sequence parameter set of its own."""
        walk = _walk_lengths(data, ends, self.length_size) if self.length_size else _walk_start_codes(data, ends)
        return bool(np.any(self.kind(walk[1]) == self.sequence_parameters))

    def unneeded(self, data: bytes, ends: np.ndarray) -> np.ndarray:
        """Marks the packets that can be dropped, (n,) bool. Packet k is data[ends[k - 1]:ends[k]].

        No picture refers to such a packet, and it holds no parameter sets.
        """
        walk = _walk_lengths(data, ends, self.length_size) if self.length_size else _walk_start_codes(data, ends)
        packet, first, second = walk  # (m,) each
        kind = self.kind(first)

        def holds(units: np.ndarray) -> np.ndarray:
            return np.bincount(packet[units], minlength=len(ends)) > 0

        if self.is_h264:
            is_slice = np.isin(kind, _H264_SLICES)
            is_needed = np.isin(kind, _H264_PARAMETER_SETS) | (is_slice & (first & 0x60 > 0))  # nal_ref_idc
            return holds(is_slice) & ~holds(is_needed)
        is_slice = np.isin(kind, _HEVC_SLICES)
        is_needed = np.isin(kind, _HEVC_PARAMETER_SETS) | (is_slice & ~np.isin(kind, _HEVC_NO_REFERENCE))
        layer = np.zeros(len(ends), dtype=np.int64)  # temporal sub-layer
        np.maximum.at(layer, packet[is_slice], second[is_slice] & 7)
        return holds(is_slice) & ~holds(is_needed) & (layer == layer.max())


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


def _walk_lengths(data: bytes, ends: np.ndarray, length_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns packet, first and second byte of each NAL unit, (m,). The k-th ones of all packets are read at once."""
    content = np.frombuffer(data, dtype=np.uint8)
    packet = np.arange(len(ends))
    at, stop = np.append(0, ends[:-1]), np.asarray(ends)
    found = []
    while len(packet):
        inside = at + length_size + 1 < stop
        packet, at, stop = packet[inside], at[inside], stop[inside]
        found.append((packet, content[at + length_size], content[at + length_size + 1]))
        length = np.zeros(len(at), dtype=np.int64)
        for k in range(length_size):
            length = length << 8 | content[at + k]
        at = at + length_size + length
    packets, firsts, seconds = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return packets, firsts, seconds


def _walk_start_codes(data: bytes, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    content = np.frombuffer(data, dtype=np.uint8)
    at = np.array([at for at in _behind_start_codes(data) if at + 1 < len(data)], dtype=np.int64)
    return np.searchsorted(ends, at, side="right"), content[at], content[at + 1]
