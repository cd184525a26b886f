"""One video encoded anew so that it decodes fast at random places.

The result is H.264 4:2:0 8-bit in an MP4 without sound: upright, of square pixels, progressive, both sides a multiple
of 16 (NVDEC then keeps its decoders from file to file), in one of the forms of `pipelines.video.encoding`.

Frames keep their own times rather than go onto a constant grid. A grid drops frames where the source is dense and
doubles them where it is sparse; with times every source frame is there once, so that a clip of the new file shows the
frames of the same clip of the old one, and spans the same time.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from pipelines.errors import VideoError
from pipelines.video.clock import Clock, usual_rate
from pipelines.video.container import decode_all, decode_packets, open_video, video_errors
from pipelines.video.encoding import SIDE_MULTIPLE, Encoder, Settings
from pipelines.video.probe import VideoFacts, probe
from pipelines.video.upright import Upright, shape_of

NUM_COMPARED_FRAMES = 8
"""Frames of a file that the PSNR is taken of, spread evenly."""


@dataclass(frozen=True, kw_only=True)
class Transcoded:
    """One finished file: its frames, how near its luma is to what was encoded, and the file it was made from.

    num_jumps: time stamps of the source that were mended, see `Clock`. num_interlaced: source frames that were
    deinterlaced. num_concealed: damaged source frames whose gaps the decoder filled. num_claimed: frames that the
    source's header claims, 0 where it says nothing. breaks_off: why the source ends early; empty where it does not.
    """

    source_bytes: int
    source_mtime_ns: int
    num_frames: int
    width: int
    height: int
    size_bytes: int
    psnr_db: float
    num_jumps: int = 0
    num_interlaced: int = 0
    num_concealed: int = 0
    num_claimed: int = 0
    breaks_off: str = ""


def transcode(source: Path, target: Path, *, settings: Settings) -> Transcoded:
    """Encodes the video `source` into `target` and decodes that from start to end, to be sure of it.

    Every frame that decoding the source yields becomes one frame, in order, whatever its header claims and its time
    stamps do. Frames keep their times; `Clock` mends those that jump. A source that breaks off counts with the frames
    before that, as it does in training. Raises VideoError where the source is damaged inside or smaller than 16 pixels,
    and where the result is not what was wanted.
    """
    facts = probe(source)
    sampled: dict[int, np.ndarray] = {}
    with video_errors():
        encoded = _encode(source, target, facts=facts, settings=settings, sampled=sampled)
        error = _verify(target, encoded, settings=settings, sampled=sampled)
    return Transcoded(
        source_bytes=facts.size_bytes,
        source_mtime_ns=facts.mtime_ns,
        size_bytes=target.stat().st_size,
        psnr_db=min(100.0, 10 * float(np.log10(255**2 / max(error, 1e-9)))),
        **dataclasses.asdict(encoded),
    )


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """The part of `Transcoded` that encoding finds out."""

    num_frames: int
    width: int
    height: int
    num_jumps: int
    num_interlaced: int
    num_concealed: int
    num_claimed: int
    breaks_off: str


def _encode(
    source: Path, target: Path, *, facts: VideoFacts, settings: Settings, sampled: dict[int, np.ndarray]
) -> _Encoded:
    """Writes `target`. The luma of some of the encoder's input goes into `sampled` {frame: (H, W) uint8}."""
    with open_video(source, headers_only=True) as opened:
        rate = usual_rate(*opened) or Fraction(facts.fps).limit_denominator(1001)
    sample_every = max(1, facts.num_frames // NUM_COMPARED_FRAMES)
    with open_video(source) as (container, stream), av.open(str(target), "w", format="mp4") as output:
        time_base = stream.time_base or 1 / rate
        clock = Clock(time_base=time_base, rate=rate)
        decoded = _Decoded(container, stream, num_expected=facts.num_frames)
        first = next(decoded, None)
        if first is None:
            raise VideoError("no picture can be decoded")
        shape = shape_of(stream, first)
        scaled, cropped = target_sides(*shape.size, short_side=settings.short_side)
        upright = Upright(shape, scaled=scaled, cropped=cropped)
        times: list[int] = []  # of the frames so far, in ticks
        encoder: Encoder | None = None
        for frame, made in upright.frames(itertools.chain([first], decoded)):
            if encoder is None:
                encoder = Encoder(output, made, rate=rate, time_base=time_base, settings=settings)
            if len(times) % sample_every == 0:
                sampled[len(times)] = _luma(made)
            times.append(clock.time_of(frame.pts))
            encoder.put(made, times)
        assert encoder is not None
        encoder.put(None, times)
        return _Encoded(
            num_frames=len(times),
            width=cropped[0],
            height=cropped[1],
            num_jumps=clock.num_jumps,
            num_interlaced=upright.num_interlaced,
            num_concealed=decoded.num_concealed,
            num_claimed=stream.frames,
            breaks_off=decoded.breaks_off,
        )


class _Decoded(Iterator[av.VideoFrame]):
    """The frames of a source up to its end, or to where it breaks off: `breaks_off` then says why.

    Raises VideoError where their number is not the one that probing found: such a file is damaged inside.
    """

    def __init__(self, container: InputContainer, stream: av.VideoStream, *, num_expected: int) -> None:
        self._frames, self._num_expected = decode_packets(container, stream), num_expected
        self._num_frames = 0
        self.num_concealed = 0
        self.breaks_off = ""

    def __next__(self) -> av.VideoFrame:
        try:
            frame = next(self._frames)
        except StopIteration:
            self._check("then the file ends")
            raise
        except av.FFmpegError as error:
            reason = error.strerror or type(error).__name__
            self._check(reason)
            self.breaks_off = reason
            raise StopIteration from error
        self._num_frames += 1
        self.num_concealed += frame.is_corrupt
        return frame

    def _check(self, reason: str) -> None:
        if self._num_frames != self._num_expected:
            raise VideoError(f"damaged: {self._num_frames} of {self._num_expected} frames readable: {reason}")


def target_sides(width: int, height: int, *, short_side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns (width, height) after scaling and after cropping. Raises VideoError for less than 16 pixels."""
    scale = min(1.0, short_side / min(width, height))
    scaled = (round(width * scale), round(height * scale))
    cropped = (scaled[0] // SIDE_MULTIPLE * SIDE_MULTIPLE, scaled[1] // SIDE_MULTIPLE * SIDE_MULTIPLE)
    if not all(cropped):
        raise VideoError(f"too small: {width}x{height}; accepted: sides of {SIDE_MULTIPLE} pixels or more")
    return scaled, cropped


def _verify(path: Path, encoded: _Encoded, *, settings: Settings, sampled: Mapping[int, np.ndarray]) -> float:
    """Decodes the whole file. Returns the mean squared error of the luma. Raises VideoError for any surprise."""
    size, num_frames = (encoded.width, encoded.height), encoded.num_frames
    errors = []
    number = 0
    with open_video(path) as (container, stream):
        for frame in decode_all(container, stream):
            if frame.key_frame != (number % settings.keyframe_distance == 0) or frame.is_corrupt:
                raise VideoError(f"verification: frame {number} of the new file is not as it was encoded")
            if (frame.width, frame.height) != size:
                raise VideoError(f"verification: the new file is {frame.width}x{frame.height}, not {size[0]}x{size[1]}")
            if number in sampled:
                difference = _luma(frame).astype(np.float32) - sampled[number]
                errors.append(float(np.mean(difference**2)))
            number += 1
    if number != num_frames:
        raise VideoError(f"verification: the new file has {number} frames, not {num_frames}")
    return float(np.mean(errors))


def _luma(frame: av.VideoFrame) -> np.ndarray:
    """Copies the Y plane (H, W) uint8 of a yuv420p frame."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].copy()
