"""Sequence parameter sets (SPS) of H.264 and HEVC: the size of pictures, how much of them is shown, what DALI needs.

Codecs code whole blocks: of a 340x180 video, H.264 codes 352x192 and says in the SPS how much to crop. NVDEC makes
decoders for the coded size, and DALI finds one that it has by the shown size; so for cropped videos it makes a new one
each time (79 against 12 ms a video on an H100). Taken out of the SPS here, the crop is left to whoever reads the
frames.

Where no picture refers to another, H.264 says so, and NVIDIA's parser asks for one surface to decode into. DALI makes
a decoder with one; but the parser takes a request for one for "as many as before", eight, and names surfaces that are
not there: NVDEC refuses the video. So the SPS here says that there may be one reference.
"""

import functools
import struct
from dataclasses import dataclass, replace

from pipelines.video.mp4 import BOXES_AT, CONFIGURATIONS, ENTRY_AT, SIZE_AT
from pipelines.video.nal_units import NalFormat

_EXTENDED_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
"""H.264's profiles whose SPS names the chroma format (7.3.2.1.1)."""


class _Bits:
    """Reads a NAL unit's payload bit by bit, without its emulation prevention bytes. Raises IndexError at its end."""

    def __init__(self, payload: bytes) -> None:
        data = payload.replace(b"\x00\x00\x03", b"\x00\x00")
        self.bits = bin(int.from_bytes(b"\x01" + data, "big"))[3:]
        self.at = 0

    def number(self, num_bits: int) -> int:
        text = self.bits[self.at : self.at + num_bits]
        if len(text) < num_bits:
            raise IndexError("the parameter set ends early")
        self.at += num_bits
        return int(text, 2) if text else 0

    def unsigned(self) -> int:
        """Exp-Golomb code, ue(v)."""
        zeros = self.bits.index("1", self.at) - self.at
        self.at += zeros
        return self.number(zeros + 1) - 1

    def signed(self) -> int:
        """Signed Exp-Golomb code, se(v)."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


@dataclass(frozen=True, kw_only=True)
class PictureSize:
    """Pixels that an SPS codes and shows, and where what is changed of it lies in the bits, as [begin, end)."""

    coded: tuple[int, int]  # width, height
    left: int
    top: int
    right: int
    bottom: int
    crop_bits: tuple[int, int]  # the flag and the numbers after it
    references_bits: tuple[int, int] | None = None  # H.264's number of reference frames, where it is zero

    @property
    def shown(self) -> tuple[int, int]:
        """(width, height) that is shown."""
        width, height = self.coded
        return width - self.left - self.right, height - self.top - self.bottom


def h264_size(bits: _Bits) -> PictureSize:
    """Reads an H.264 SPS, from behind its NAL unit's header (ITU-T H.264, 7.3.2.1.1)."""
    profile = bits.number(8)
    bits.number(16)  # constraints, level
    bits.unsigned()
    chroma = 1
    if profile in _EXTENDED_PROFILES:
        chroma = bits.unsigned()
        if chroma == 3 and bits.number(1):  # separate planes
            chroma = 0
        bits.unsigned(), bits.unsigned(), bits.number(1)  # bit depths, bypass
        if bits.number(1):
            for k in range(12 if chroma == 3 else 8):
                if bits.number(1):
                    _skip_scaling_list(bits, 16 if k < 6 else 64)
    bits.unsigned()
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.number(1), bits.signed(), bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()
    at = bits.at
    references_bits = None if bits.unsigned() else (at, bits.at)
    bits.number(1)
    width, units = 16 * (bits.unsigned() + 1), bits.unsigned() + 1
    frames_only = bits.number(1)
    if not frames_only:
        bits.number(1)
    bits.number(1)
    unit_x = 2 if chroma in (1, 2) else 1
    unit_y = (2 if chroma == 1 else 1) * (2 - frames_only)
    size = _size(bits, (width, 16 * units * (2 - frames_only)), unit_x, unit_y)
    return replace(size, references_bits=references_bits)


def hevc_size(bits: _Bits) -> PictureSize:
    """Reads an HEVC SPS, from behind its NAL unit's header (ITU-T H.265, 7.3.2.2)."""
    bits.number(4)
    num_sub_layers = bits.number(3)
    bits.number(1 + 88 + 8)
    present = [(bits.number(1), bits.number(1)) for _ in range(num_sub_layers)]
    if num_sub_layers:
        bits.number(2 * (8 - num_sub_layers))
    for has_profile, has_level in present:
        bits.number(88 * has_profile + 8 * has_level)
    bits.unsigned()
    chroma = bits.unsigned()
    if chroma == 3 and bits.number(1):
        chroma = 0
    coded = bits.unsigned(), bits.unsigned()
    return _size(bits, coded, 2 if chroma in (1, 2) else 1, 2 if chroma == 1 else 1)


def _size(bits: _Bits, coded: tuple[int, int], unit_x: int, unit_y: int) -> PictureSize:
    begin = bits.at
    left, right, top, bottom = (bits.unsigned() for _ in range(4)) if bits.number(1) else (0, 0, 0, 0)
    return PictureSize(
        coded=coded,
        left=left * unit_x,
        right=right * unit_x,
        top=top * unit_y,
        bottom=bottom * unit_y,
        crop_bits=(begin, bits.at),
    )


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


_ONE = "010"
"""1 as ue(v)."""
_READERS = {"h264": (1, h264_size), "hevc": (2, hevc_size)}
"""Codec -> (bytes of a NAL unit's header, reader)."""


def picture_size(sps: bytes, *, codec: str) -> PictureSize:
    """The size that an SPS (a NAL unit with its header) gives. Raises ValueError or IndexError where it is damaged."""
    num_head, read = _READERS[codec]
    return read(_Bits(sps[num_head:]))


def for_nvdec(sps: bytes, *, codec: str) -> bytes:
    """The same SPS, which shows all that is coded and, for H.264, allows one reference frame at least."""
    num_head, read = _READERS[codec]
    bits = _Bits(sps[num_head:])
    size = read(bits)
    changes = [(size.crop_bits, "0")] + ([(size.references_bits, _ONE)] if size.references_bits else [])
    kept = bits.bits.rstrip("0")  # up to the stop bit
    for (begin, end), text in changes:  # from the last one to the first
        kept = kept[:begin] + text + kept[end:]
    kept += "0" * (-len(kept) % 8)
    return sps[:num_head] + _protected(int(kept, 2).to_bytes(len(kept) // 8, "big"))


def _protected(data: bytes) -> bytes:
    """With emulation prevention bytes: no three bytes look like a start code."""
    made = bytearray()
    zeros = 0
    for byte in data:
        if zeros == 2 and byte <= 3:
            made.append(3)
            zeros = 0
        made.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(made)


@functools.lru_cache(maxsize=256)
def described_for_nvdec(description: bytes, *, codec: str) -> bytes | None:
    """An `stsd` box's content with the SPS `for_nvdec`; its height is the coded one, its width the shown one.

    Readers see rows below the shown ones, and columns as before: NVDEC's rows are longer than they are read, but its
    colors lie behind all coded rows. None where there is not one SPS, or where it cannot be read, or crops on the left
    or at the top: then pixels would move.
    """
    try:
        size, sets = _configuration(description, codec)
        form = NalFormat(is_h264=codec == "h264", length_size=0)
        (sps,) = (unit for unit in sets if form.kind(unit[0]) == form.sequence_parameters)
        picture = picture_size(sps, codec=codec)
    except (ValueError, IndexError, struct.error):
        return None
    if picture.left or picture.top:
        return None
    units = [for_nvdec(unit, codec=codec) if unit is sps else unit for unit in sets]
    return _described(description, codec, size, units, width=picture.shown[0], height=picture.coded[1])


def _configuration(description: bytes, codec: str) -> tuple[tuple[int, int], list[bytes]]:
    """Returns where the avcC or hvcC box lies, [begin, end), and the NAL units in it, in order."""
    at, (wanted, _) = BOXES_AT, CONFIGURATIONS[codec]
    while True:
        size, kind = struct.unpack_from(">I4s", description, at)
        if kind == wanted:
            return (at, at + size), [description[a:b] for a, b in _units(description, at + 8, codec)]
        if size < 8:
            raise ValueError("no decoder configuration")
        at += size


def _units(data: bytes, at: int, codec: str) -> list[tuple[int, int]]:
    """Where the NAL units of a configuration that begins at `at` lie."""
    found = []

    def take(at: int, number: int) -> int:
        for _ in range(number):
            (length,) = struct.unpack_from(">H", data, at)
            found.append((at + 2, at + 2 + length))
            at += 2 + length
            if at > len(data):
                raise ValueError("the decoder configuration ends early")
        return at

    if codec == "h264":
        at = take(at + 6, data[at + 5] & 31)
        take(at + 1, data[at])
    else:
        num_arrays = data[at + 22]
        at += 23
        for _ in range(num_arrays):
            (number,) = struct.unpack_from(">H", data, at + 1)
            at = take(at + 3, number)
    return found


def _described(
    description: bytes, codec: str, box: tuple[int, int], units: list[bytes], *, width: int, height: int
) -> bytes:
    """The description with other NAL units in its configuration, in the same order, and another size."""
    begin, end = box
    made, at = bytearray(), begin + 8
    for (first, stop), unit in zip(_units(description, at, codec), units, strict=True):
        made += description[at : first - 2] + struct.pack(">H", len(unit)) + unit
        at = stop
    made += description[at:end]
    configuration = struct.pack(">I", 8 + len(made)) + description[begin + 4 : begin + 8] + made
    whole = bytearray(description[:begin] + configuration + description[end:])
    grown = len(configuration) - (end - begin)
    (entry_size,) = struct.unpack_from(">I", whole, ENTRY_AT)
    struct.pack_into(">I", whole, ENTRY_AT, entry_size + grown)
    struct.pack_into(">HH", whole, SIZE_AT, width, height)
    return bytes(whole)
