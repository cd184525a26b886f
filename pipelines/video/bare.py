"""Decodes packets without a container: opening one costs more than the few pictures of a small video."""

from collections.abc import Iterator

import av

from pipelines.video.container import DECODER_OPTIONS, Allowance
from pipelines.video.cut import Piece


def can_decode(piece: Piece) -> bool:
    """Whether a decoder learns here all that a container would tell it: colors are said by a box of the file's own."""
    return not piece.mp4.says_colors


def frames_of(piece: Piece) -> Iterator[av.VideoFrame]:
    """Yields the frames of all packets in the order in which they are shown; `pts` is a frame's number (`Piece.ranks`).

    Raises FFmpeg's errors, and FileError where the packets take too long.
    """
    context = av.CodecContext.create(piece.mp4.codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1
    context.extradata = piece.mp4.configuration
    # Strictly, a decoder guesses no order of frames: it waits for as many as H.264 allows.
    context.options = DECODER_OPTIONS | ({"strict": "1"} if piece.mp4.codec == "h264" else {})
    width, height = piece.mp4.size
    allowance = Allowance(num_pixels=width * height)
    for content, rank in zip(piece.packets, piece.ranks.tolist(), strict=True):
        packet = av.Packet(bytes(content))
        packet.pts = packet.dts = rank
        allowance.spend()
        yield from context.decode(packet)
    yield from context.decode(None)
