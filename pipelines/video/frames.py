"""Frames of one video, decoded on a CPU in any order from as few packets as they need.

Legend: F frames asked for, H x W pixels.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from pipelines.errors import FileError, VideoError
from pipelines.video import bare
from pipelines.video.container import decode_all, open_video, video_errors
from pipelines.video.cut import Cut, Piece, needed
from pipelines.video.packets import checked_frames

_AS_BT601 = (0, 2, 5, 6)
"""Tags (ITU-T H.273, matrix coefficients) of RGB, of no matrix, and of both names of BT.601."""


@dataclass
class DecodingNotes:
    """What a decoder said of the frames that it went through. num_damaged: frames whose gaps it filled."""

    num_damaged: int = 0


def decode_frames(
    source: Path | str | bytes,
    frames: Sequence[int] | np.ndarray,
    *,
    exact_seek: bool,
    notes: DecodingNotes | None = None,
) -> np.ndarray:
    """Decodes the frames of these presentation indices: (F, H, W, 3) uint8 RGB, in the order asked for.

    The result equals decoding the whole video and picking, bit for bit, for any order and repetition. With
    `exact_seek` (see `VideoFacts`) only the GOPs that hold the frames are decoded; without it everything from
    the first frame to the last one asked for. Raises VideoError where the video has fewer frames, changes its
    picture size between them or cannot be decoded; InputError for no or negative indices. `notes` are added to.
    """
    asked = checked_frames(frames)
    wanted, slots = np.unique(asked, return_inverse=True)
    rgb = images_of(decode_each(source, wanted, exact_seek=exact_seek, notes=notes), num_frames=len(wanted))
    return rgb if np.array_equal(wanted, asked) else rgb[slots]


def decode_each(
    source: Path | str | bytes, wanted: np.ndarray, *, exact_seek: bool, notes: DecodingNotes | None = None
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (k, decoded frame `wanted[k]`) for every k, in order; `wanted` (F,) ascends.

    Raises VideoError as `decode_frames` does, after the frames before the fault. `notes` are added to.
    """
    # The video is cut before FFmpeg decodes it, as it is for NVDEC: the cut holds only the GOPs that are needed, and
    # in them only the packets that are needed, fewer than seeking could leave out. Both decoders then decode the same
    # packets in the same way, from the first one.
    made = needed(source, wanted) if exact_seek else None
    if made is None:
        return decode_from_start(source, wanted, notes=notes)
    if isinstance(made, Piece):
        if bare.can_decode(made):
            return _decode_piece(made, notes=notes)
        made = made.as_cut()
    return _decode_cut(made, notes=notes)


def _decode_cut(made: Cut, *, notes: DecodingNotes | None) -> Iterator[tuple[int, av.VideoFrame]]:
    return decode_from_start(made.content, made.frames, headers_only=made.all_keyframes, notes=notes)


def _decode_piece(piece: Piece, *, notes: DecodingNotes | None) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (k, decoded frame `piece.frames[k]`) for every k. Raises VideoError as `decode_from_start` does."""
    slots = {rank: slot for slot, rank in enumerate(piece.frames.tolist())}
    found = DecodingNotes()
    with contextlib.suppress(VideoError), video_errors():
        for frame in bare.frames_of(piece):
            found.num_damaged += frame.is_corrupt
            slot = slots.pop(frame.pts, None) if frame.pts is not None else None
            if slot is not None:
                yield slot, frame
                if not slots:
                    break
    if not slots:
        if notes is not None:
            notes.num_damaged += found.num_damaged
        return
    # Something is wrong with it: what, and what else can be decoded, is said of a whole file.
    missing = set(slots.values())
    yield from ((slot, frame) for slot, frame in _decode_cut(piece.as_cut(), notes=notes) if slot in missing)


def decode_from_start(
    source: Path | str | bytes,
    wanted: np.ndarray,
    *,
    headers_only: bool = False,
    notes: DecodingNotes | None = None,
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (k, decoded frame `wanted[k]`) for every k; `wanted` (F,) ascends. All before the last is decoded.

    headers_only: as for `open_video`, of a file whose frames are known to be decoded in the order in which they come.
    Raises VideoError where the video has fewer frames or cannot be decoded, after the frames before the fault. Adds to
    `notes` what was said of all frames up to the last one.
    """
    slots = {index: slot for slot, index in enumerate(wanted.tolist())}
    num_decoded = 0
    try:
        with (
            video_errors(),
            open_video(source, headers_only=headers_only) as (container, stream),
            closing(decode_all(container, stream)) as frames,
        ):
            for frame in frames:
                slot = slots.pop(num_decoded, None)
                num_decoded += 1
                if notes is not None:
                    notes.num_damaged += frame.is_corrupt
                if slot is not None:
                    yield slot, frame
                    if not slots:
                        return
    except VideoError as error:
        if not num_decoded or isinstance(error, FileError):
            raise
        raise VideoError(f"{num_decoded} frames readable, asked for frame {wanted[-1]}: {error}") from error
    raise VideoError(f"{num_decoded} frames readable, asked for frame {wanted[-1]}")


def images_of(pictures: Iterable[tuple[int, av.VideoFrame]], *, num_frames: int) -> np.ndarray:
    """Converts frames to (F, H, W, 3) uint8 RGB. One reformatter, since making one costs more than a conversion.

    `pictures` are (k, frame) pairs that fill every k of `num_frames`, one or more. Raises VideoError where none comes.
    """
    reformatter = VideoReformatter()
    rgb: np.ndarray | None = None
    with video_errors():
        for slot, frame in same_size(pictures):
            if rgb is None:
                rgb = np.empty((num_frames, frame.height, frame.width, 3), dtype=np.uint8)
            rgb[slot] = to_rgb(frame, reformatter).to_ndarray()
    if rgb is None:
        raise VideoError("no picture can be decoded")
    return rgb


def to_rgb(frame: av.VideoFrame, reformatter: VideoReformatter, *, layout: str = "rgb24") -> av.VideoFrame:
    """Converts a frame to packed RGB (or gbrp, planar), by the matrix of BT.601 whatever the file is tagged with.

    DALI converts NVDEC's frames so: it heeds the range that a file names, and no matrix. A network sees the same colors
    on both ways, in training and evaluation.
    """
    if frame.colorspace in _AS_BT601:  # FFmpeg's own choice, in a third of the time
        return reformatter.reformat(frame, format=layout, threads=1)
    return reformatter.reformat(frame, format=layout, src_colorspace=Colorspace.ITU601, threads=1)


def same_size(pictures: Iterable[tuple[int, av.VideoFrame]]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields the (k, frame) pairs. Raises VideoError where the size of the frames changes."""
    size: tuple[int, int] | None = None
    for slot, frame in pictures:
        if size is None:
            size = frame.width, frame.height
        elif size != (frame.width, frame.height):
            raise VideoError(f"the picture size changes from {size[0]}x{size[1]} to {frame.width}x{frame.height}")
        yield slot, frame


def check_size(width: int, height: int, probed: tuple[int, int]) -> None:
    """Raises FileError where a picture's size is not the one (width, height) that was probed."""
    if (width, height) != probed:
        raise FileError(
            f"frames are {width}x{height} pixels, the manifest says {probed[0]}x{probed[1]}: the file changed"
        )
