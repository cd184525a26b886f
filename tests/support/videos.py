"""Small videos made for tests, and the slow plain decoder they are compared with."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

REAL_VIDEOS = Path(os.environ.get("CMPL_TEST_VIDEOS", Path(__file__).parents[3] / "shared" / "videos"))
"""Real clips; tests that use them are skipped where the folder is absent."""

needs_real_videos = pytest.mark.skipif(not REAL_VIDEOS.is_dir(), reason="no folder of real clips")


def real_videos() -> list[Path]:
    """Every real clip, sorted; empty where the folder is absent."""
    return sorted(path for path in REAL_VIDEOS.glob("*.*") if path.suffix in {".mp4", ".avi", ".mkv"})


def pictures(num_frames: int, *, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """(F, H, W, 3) uint8: a moving pattern with noise, so that every frame differs and B-frames pay."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    noise = rng.integers(0, 40, (height, width, 3))
    frames = [
        np.stack([120 + 80 * np.sin((x + 3 * t) / 7), (2 * y + 5 * t) % 160, (x * y // 8 + t) % 200], axis=-1)
        + np.roll(noise, t, axis=1)
        for t in range(num_frames)
    ]
    return np.clip(frames, 0, 255).astype(np.uint8)


def make_video(
    path: Path,
    *,
    num_frames: int = 40,
    height: int = 48,
    width: int = 64,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    fps: int = 25,
    gop: int = 10,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    stamps: list[int] | None = None,
    stretch: Fraction | None = None,
    seed: int = 0,
) -> Path:
    """Encodes `pictures`.

    `stretch` is the width of a pixel by its height. `stamps` are presentation times in units of 1 / fps seconds
    (default 0, 1, ...).
    """
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options={"threads": "1", **(codec_options or {})})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.gop_size = gop
        if stretch is not None:
            stream.codec_context.sample_aspect_ratio = stretch
        for t, picture in enumerate(pictures(num_frames, height=height, width=width, seed=seed)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = t if stamps is None else stamps[t]
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(
    source: Path,
    path: Path,
    *,
    shift: int = 0,
    skip_packets: int = 0,
    bitstream_filter: str | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Copies the packets of `source` unchanged into another file, shifted in time (source's time base)."""
    options = container_options or {}
    with av.open(str(source)) as reader, av.open(str(path), "w", options=options) as writer:
        old = reader.streams.video[0]
        new = writer.add_stream_from_template(old)
        bsf = av.BitStreamFilterContext(bitstream_filter, old) if bitstream_filter else None
        for number, packet in enumerate(reader.demux(old)):
            if packet.dts is None or number < skip_packets:
                continue
            for filtered in bsf.filter(packet) if bsf else [packet]:
                if filtered.pts is not None:
                    filtered.pts += shift
                filtered.dts += shift
                filtered.stream = new
                writer.mux(filtered)
    return path


def decode_plainly(path: Path | str) -> np.ndarray:
    """(F, H, W, 3) uint8: every frame, one after the other, nothing clever: the oracle of the tests.

    By the matrix of BT.601 whatever a file is tagged with; test_colors.py has the equations.
    """
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return np.stack([f.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU601) for f in frames])


def pack_b_frames(source: Path, path: Path) -> Path:
    """MPEG-4 with one B-frame between references, packed as DivX 5 did: P and B in one AVI packet, then an empty
    one. `source` must order its packets I P B P B ..."""
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        old = reader.streams.video[0]
        new = writer.add_stream_from_template(old)
        coded = [bytes(packet) for packet in reader.demux(old) if packet.dts is not None]
        mark = b"\x00\x00\x01\xb2DivX503b1393p"
        chunks = [coded[0].replace(b"\x00\x00\x01\xb6", mark + b"\x00\x00\x01\xb6", 1)]
        for reference, b_frame in zip(coded[1::2], coded[2::2], strict=True):
            chunks += [reference + b_frame, b"\x00\x00\x01\xb6\x50\x00\x00"]
        for number, chunk in enumerate(chunks):
            packet = av.Packet(chunk)
            packet.dts = packet.pts = number
            packet.time_base = new.time_base or old.time_base
            packet.is_keyframe = number == 0
            packet.stream = new
            writer.mux(packet)
    return path


def class_folder(
    root: Path, *, num_train: int, num_val: int, num_frames: int = 24, more_frames: int = 0, num_unlabeled: int = 0
) -> Path:
    """Two classes, clap and wave, in train/ and val/, and videos without a class in unlabeled/ where asked for.

    Video i of a class in a part is `clap{i}.mp4` and has `num_frames + i * more_frames` frames.
    """
    for number, name in enumerate(("clap", "wave")):
        for part, count in (("train", num_train), ("val", num_val)):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                frames = num_frames + i * more_frames
                make_video(root / part / name / f"{name}{i}.mp4", num_frames=frames, seed=10 * number + i)
    for i in range(num_unlabeled):
        (root / "unlabeled").mkdir(exist_ok=True)
        make_video(root / "unlabeled" / f"{i}.mp4", num_frames=num_frames, seed=50 + i)
    return root


def place_of(path: Path, frame: int) -> tuple[int, int]:
    """Where the packet of a frame lies in the file: first byte, number of bytes. One packet a frame, in order."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][frame]
        assert packet.pos is not None
        return packet.pos, packet.size


def with_gaps(path: Path, *, frame: int) -> Path:
    """Changes bytes in the middle of a frame's packet, so that the decoder fills a gap and goes on."""
    begin, size = place_of(path, frame)
    content = bytearray(path.read_bytes())
    content[begin + size // 2 : begin + size // 2 + 8] = b"\x55" * 8
    path.write_bytes(content)
    return path
