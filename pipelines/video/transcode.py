"""One video encoded anew so that it decodes fast at random places.

What comes out: H.264 4:2:0 8-bit in an MP4 without sound, upright, both sides a multiple of 16 (NVDEC then keeps its
decoders from file to file), a constant frame rate, short closed GOPs of fixed length.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange

from pipelines.errors import InputError, VideoError
from pipelines.progress import Progress, no_progress
from pipelines.video.container import demux, open_video, video_errors
from pipelines.video.frames import decode_frames
from pipelines.video.probe import VideoFacts, probe

STRIDE = 4
"""Of stride-aligned files: pictures that are no multiple of it are B-pictures that nothing refers to."""
SIDE_MULTIPLE = 16
NUM_COMPARED_FRAMES = 8
"""Of every file, spread evenly, for the PSNR."""
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
    """What one finished file is, how near its luma is to what was encoded, and what it was made from."""

    source_bytes: int
    source_mtime_ns: int
    num_frames: int
    width: int
    height: int
    size_bytes: int
    psnr_db: float


def transcode(source: Path, target: Path, *, settings: Settings) -> Transcoded:
    """Encodes the video `source` into `target` and decodes that from start to end, to be sure of it.

    Every frame of a source of constant rate becomes one frame; of one of variable rate, each instant of a constant
    grid of its average rate takes the frame nearest in time. Raises VideoError where the source is damaged or smaller
    than 16 pixels, and where the result is not what was wanted.
    """
    facts = probe(source)
    sampled: dict[int, np.ndarray] = {}
    with video_errors():
        num_frames, width, height = _encode(source, target, facts=facts, settings=settings, sampled=sampled)
        error = _verify(target, num_frames=num_frames, size=(width, height), settings=settings, sampled=sampled)
    return Transcoded(
        source_bytes=facts.size_bytes,
        source_mtime_ns=facts.mtime_ns,
        num_frames=num_frames,
        width=width,
        height=height,
        size_bytes=target.stat().st_size,
        psnr_db=min(100.0, 10 * float(np.log10(255**2 / max(error, 1e-9)))),
    )


def _encode(
    source: Path, target: Path, *, facts: VideoFacts, settings: Settings, sampled: dict[int, np.ndarray]
) -> tuple[int, int, int]:
    """Writes `target`; (frames, width, height). The luma of some of the encoder's input goes into `sampled`."""
    rate = Fraction(facts.fps).limit_denominator(1001)
    sample_every = max(1, facts.num_frames // NUM_COMPARED_FRAMES)
    number = 0
    with av.open(str(target), "w", format="mp4") as container:
        stream: av.VideoStream | None = None
        for frame, repeats in _repeated(_upright(source, facts, settings), rate):
            if stream is None:
                stream = _add_stream(container, frame, rate=rate, settings=settings)
            for _ in range(repeats):
                if number % sample_every == 0:
                    sampled[number] = _luma(frame)
                frame.pts, frame.time_base = number, 1 / rate
                frame.pict_type = 0  # else x264 would take over the source's
                container.mux(stream.encode(frame))
                number += 1
        if stream is None:
            raise VideoError("no picture can be decoded")
        container.mux(stream.encode(None))
        return number, stream.width, stream.height


def _add_stream(
    container: av.container.OutputContainer, frame: av.VideoFrame, *, rate: Fraction, settings: Settings
) -> av.VideoStream:
    b_pictures = "bframes=3:b-adapt=0:b-pyramid=none" if settings.stride_aligned else "bframes=0"
    options = {
        "crf": str(settings.crf),
        "threads": "1",  # the files are the parallelism
        "x264-params": f"keyint={settings.gop}:min-keyint=1:scenecut=0:open-gop=0:{b_pictures}",
    }
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
    context = stream.codec_context
    context.color_range, context.colorspace = frame.color_range, frame.colorspace
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    return stream


def _upright(source: Path, facts: VideoFacts, settings: Settings) -> Iterator[tuple[float | None, av.VideoFrame]]:
    """(seconds, frame as it is to be encoded) of every frame. Raises VideoError where the file breaks off."""
    num_packets = num_frames = 0
    graph: av.filter.Graph | None = None
    with open_video(source) as (container, stream):
        kind: tuple | None = None
        for packet in itertools.chain(demux(container, stream), [None]):
            num_packets += packet is not None
            try:
                frames = stream.codec_context.decode(packet)
            except av.FFmpegError as error:
                of = f"{num_frames} of {max(stream.frames, facts.num_frames)} frames readable"
                raise VideoError(f"damaged: {of}: {error.strerror}") from error
            num_frames += len(frames)
            for frame in frames:
                if kind is None:
                    graph, kind = _filters(frame, stream, settings), _kind(frame)
                elif kind != _kind(frame):
                    raise VideoError(f"the pictures change from {kind} to {_kind(frame)}")
                seconds = None if frame.pts is None else float(frame.pts * stream.time_base)
                graph.vpush(frame)
                yield seconds, graph.vpull()
        if num_packets < stream.frames:
            raise VideoError(f"damaged: {num_packets} of {stream.frames} frames readable, then the file ends")


def _kind(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _filters(frame: av.VideoFrame, stream: av.VideoStream, settings: Settings) -> av.filter.Graph:
    """Turn as the display matrix says, scale, crop to multiples of 16 around the middle, 8-bit 4:2:0."""
    turns = round(frame.rotation / 90) % 4  # quarter turns against the clock
    width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    scaled, cropped = target_sides(width, height, short_side=settings.short_side)
    steps = [("transpose", {1: "cclock", 3: "clock"}[turns])] if turns % 2 else []
    steps += [("hflip", None), ("vflip", None)] if turns == 2 else []
    if scaled != (width, height) or frame.color_range == ColorRange.JPEG:
        steps.append(("scale", f"{scaled[0]}:{scaled[1]}:flags=bicubic:out_range=tv"))  # NVDEC's range
    steps.append(("format", "pix_fmts=yuv420p"))
    if cropped != scaled:
        steps.append(("crop", f"{cropped[0]}:{cropped[1]}"))
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base)
    nodes = [source, *(graph.add(name, arguments) for name, arguments in steps), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    return graph


def target_sides(width: int, height: int, *, short_side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) after scaling and after cropping. Raises VideoError for less than 16 pixels."""
    scale = min(1.0, short_side / min(width, height))
    scaled = (round(width * scale), round(height * scale))
    cropped = (scaled[0] // SIDE_MULTIPLE * SIDE_MULTIPLE, scaled[1] // SIDE_MULTIPLE * SIDE_MULTIPLE)
    if not all(cropped):
        raise VideoError(f"too small: {width}x{height}, accepted: sides of {SIDE_MULTIPLE} pixels or more")
    return scaled, cropped


def _repeated(
    frames: Iterator[tuple[float | None, av.VideoFrame]], rate: Fraction
) -> Iterator[tuple[av.VideoFrame, int]]:
    """How often each frame is shown on the grid k / rate seconds after the first one: once at a constant rate. Frames
    without a time follow each other at the rate."""
    spacing = float(1 / rate)
    begin: float | None = None
    number = 0  # grid points passed
    waiting: tuple[float, av.VideoFrame] | None = None
    for seconds, frame in frames:
        if waiting is not None:
            now = waiting[0] + spacing if seconds is None else seconds
            end = (waiting[0] + now) / 2 - begin  # from here on the next frame is nearer
            repeats = max(0, int(np.ceil(end / spacing)) - number)
            if repeats:
                yield waiting[1], repeats
            number += repeats
        else:
            begin = now = seconds or 0.0
        waiting = (now, frame)
    if waiting is not None:
        last = int(np.floor((waiting[0] - begin) / spacing + 0.5)) + 1
        if last > number:
            yield waiting[1], last - number


def _verify(
    path: Path, *, num_frames: int, size: tuple[int, int], settings: Settings, sampled: dict[int, np.ndarray]
) -> float:
    """Decodes the whole file; the mean squared error of the luma. Raises VideoError for any surprise."""
    errors = []
    number = 0
    with open_video(path) as (container, stream):
        for frame in container.decode(stream):
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
    """A copy of the Y plane (H, W) uint8 of a yuv420p frame."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].copy()


def decode_gain(pairs: Sequence[tuple[Path, Path]], *, progress: Progress = no_progress) -> float:
    """Of (old file, new file) pairs, old by new seconds that the CPU decodes clips of a random 64-frame span in: 16x4,
    which 8x8 is within, from a multiple of 4 on. The median over some files and spans, each taken at the best of a few
    times; NaN without any."""
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
