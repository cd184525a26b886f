"""One video encoded anew so that it decodes fast at random places.

The result is H.264 4:2:0 8-bit in an MP4 without sound: upright, of square pixels, progressive, both sides a multiple
of 16 (NVDEC then keeps its decoders from file to file), with short closed GOPs of fixed length.

Frames keep their own times rather than go onto a constant grid. A grid drops frames where the source is dense and
doubles them where it is sparse; with times every source frame is there once, so that a clip of the new file shows the
frames of the same clip of the old one, and spans the same time.
"""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer

from pipelines.errors import InputError, VideoError
from pipelines.progress import Progress, no_progress
from pipelines.video.clock import Clock, usual_rate
from pipelines.video.container import decode_all, decode_packets, open_video, video_errors
from pipelines.video.frames import decode_frames
from pipelines.video.probe import VideoFacts, probe
from pipelines.video.upright import Upright, shape_of

STRIDE = 4
"""Distance of the P-pictures in stride-aligned files; those between are B-pictures that nothing refers to."""
SIDE_MULTIPLE = 16
NUM_COMPARED_FRAMES = 8
"""Frames of a file that the PSNR is taken of, spread evenly."""
NUM_TIMED_FILES, NUM_TIMED_SPANS, NUM_TIMES, SPAN_FRAMES = 8, 3, 3, 64


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the videos are encoded.

    short_side: in pixels; smaller videos keep their size. gop: distance of keyframes in frames. crf: x264's constant
    rate factor, lower is better. stride_aligned: P BBB P, so that clips of stride 4 and 8 that start at multiples of 4
    need no B-picture; else there are none.
    """

    short_side: int = 256
    gop: int = 16
    crf: int = 20
    stride_aligned: bool = False

    def __post_init__(self) -> None:
        if self.short_side < SIDE_MULTIPLE:
            raise InputError(f"short_side: received {self.short_side}; accepted: {SIDE_MULTIPLE} pixels or more")
        if self.gop < 1 or (self.stride_aligned and self.gop % STRIDE):
            accepted = f"a multiple of {STRIDE}" if self.stride_aligned else "1 frame or more"
            raise InputError(f"gop: received {self.gop}; accepted: {accepted}")
        if not 0 <= self.crf <= 51:
            raise InputError(f"crf: received {self.crf}; accepted: 0 (lossless) to 51")


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
        encoder: _Encoder | None = None
        for frame, made in upright.frames(itertools.chain([first], decoded)):
            if encoder is None:
                encoder = _Encoder(output, made, rate=rate, time_base=time_base, settings=settings)
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


class _Encoder:
    """x264, and the file it writes into. It is told of a constant rate, so that a long pause makes no frame dear; the
    packets get their times behind it."""

    def __init__(
        self,
        output: OutputContainer,
        frame: av.VideoFrame,
        *,
        rate: Fraction,
        time_base: Fraction,
        settings: Settings,
    ) -> None:
        b_pictures = "bframes=3:b-adapt=0:b-pyramid=none" if settings.stride_aligned else "bframes=0"
        options = {
            "crf": str(settings.crf),
            "threads": "1",  # the files are the parallelism
            "x264-params": f"keyint={settings.gop}:min-keyint=1:scenecut=0:open-gop=0:{b_pictures}",
        }
        self._output, self._time_base, self._rate, self._number = output, time_base, rate, 0
        self._stream = output.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = frame.width, frame.height, "yuv420p"
        self._stream.time_base = time_base
        context = self._stream.codec_context
        context.color_range, context.colorspace = frame.color_range, frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc

    def put(self, frame: av.VideoFrame | None, times: Sequence[int]) -> None:
        """Encodes the next frame, or with None what is left. `times` are those of all frames so far, in ticks."""
        if frame is not None:
            frame.pts, frame.time_base = self._number, 1 / self._rate
            frame.pict_type = 0  # else x264 would take over the source's
            self._number += 1
        for packet in self._stream.encode(frame):
            assert packet.pts is not None
            assert packet.dts is not None
            packet.pts, packet.dts = (times[number] if number >= 0 else number for number in (packet.pts, packet.dts))
            packet.duration, packet.time_base = 0, self._time_base
            self._output.mux(packet)


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
            if frame.key_frame != (number % settings.gop == 0) or frame.is_corrupt:
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


def decode_gain(pairs: Sequence[tuple[Path, Path]], *, progress: Progress = no_progress) -> float:
    """Returns the speed-up of decoding on a CPU: seconds for the old file / seconds for the new one.

    pairs: (old file, new file). Decoded are 16x4 clips of random 64-frame spans that begin at a multiple of 4. The
    result is the median over some files and spans, each the best of a few times; NaN without any file.
    """
    rng = np.random.default_rng(0)
    chosen = [pairs[index] for index in rng.permutation(len(pairs))[:NUM_TIMED_FILES]]
    gains = []
    for number, pair in enumerate(chosen, 1):
        facts = [probe(path) for path in pair]
        num_frames = min(fact.num_frames for fact in facts)
        for _ in range(NUM_TIMED_SPANS):
            start = int(rng.integers(max(1, (num_frames - SPAN_FRAMES) // STRIDE + 1))) * STRIDE
            frames = np.arange(start, start + SPAN_FRAMES, STRIDE) % num_frames
            times = [
                [_decode_seconds(path, frames, fact) for path, fact in zip(pair, facts, strict=True)]
                for _ in range(NUM_TIMES)
            ]
            old, new = np.min(times, axis=0)
            gains.append(old / new)
        progress(number, len(chosen), "timing")
    return float(np.median(gains)) if gains else float("nan")


def _decode_seconds(path: Path, frames: np.ndarray, facts: VideoFacts) -> float:
    begin = time.perf_counter()
    decode_frames(path, frames, exact_seek=facts.exact_seek)
    return time.perf_counter() - begin
