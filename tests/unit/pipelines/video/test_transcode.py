"""transcode.py, clock.py, upright.py: every frame is kept, once, at its time, in its shape and its colors."""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import VideoError
from pipelines.video.clock import Clock
from pipelines.video.encoding import Settings
from pipelines.video.probe import probe
from pipelines.video.transcode import Transcoded, transcode
from tests.support.videos import REAL_VIDEOS, decode_plainly, make_video, pictures

FINE = Settings(crf=1)
FAULTS = REAL_VIDEOS / "faults"
BT601, BT709, LIMITED, FULL = 5, 1, 1, 2
WEIGHTS = {BT601: (0.299, 0.114), BT709: (0.2126, 0.0722)}
"""The shares of red and blue in luma."""


def prepared(path: Path, settings: Settings = FINE) -> tuple[Transcoded, np.ndarray, list[float]]:
    """What was made, its frames (F, H, W, 3), and when they are shown, in seconds."""
    target = path.with_name(f"{path.stem}-prepared.mp4")
    made = transcode(path, target, settings=settings)
    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
    return made, np.stack([f.to_ndarray(format="rgb24") for f in frames]), [float(f.time) for f in frames]


def assert_every_frame_once(before: np.ndarray, after: np.ndarray, *, most: float = 6.0) -> None:
    """The k-th frame is nearest to the k-th one, for every k."""
    assert len(before) == len(after)
    top, left = ((a - b) // 2 for a, b in zip(before.shape[1:3], after.shape[1:3], strict=True))
    cropped = before[:, top : top + after.shape[1], left : left + after.shape[2]].astype(np.int16)
    distances = np.array([[np.abs(a - b).mean() for a in cropped] for b in after.astype(np.int16)])
    assert distances.argmin(axis=1).tolist() == list(range(len(before)))
    assert np.diagonal(distances).max() < most


def joined(folder: Path, *, overlap: bool) -> Path:
    """Two recordings in one MPEG-TS: the stamps begin anew, or jump ahead by five minutes."""
    first = make_video(folder / "first.ts", num_frames=12, seed=1)
    stamps = None if overlap else [300 * 25 + t for t in range(12)]
    second = make_video(folder / "second.ts", num_frames=12, seed=2, stamps=stamps)
    path = folder / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


@pytest.mark.parametrize("overlap", [True, False])
def test_stamps_that_jump_lose_no_frame(tmp_path, overlap):
    path = joined(tmp_path, overlap=overlap)
    made, after, times = prepared(path)
    assert_every_frame_once(decode_plainly(path), after)
    assert made.num_jumps == 1
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-4)


@pytest.mark.parametrize(
    "stamps",
    [
        [0, 1, 2, 3, 10, 11, 12, 30, 31, 32, 33, 36],
        [0, 1, 2, 3, 4, 5, 505, 506, 507, 508, 509, 510],  # a pause of 20 seconds, as of a screen recording
    ],
)
def test_frames_keep_their_own_times(tmp_path, stamps):
    path = make_video(tmp_path / "a.mp4", num_frames=12, stamps=stamps, codec_options={"crf": "1"})
    made, after, times = prepared(path)
    assert_every_frame_once(decode_plainly(path), after)
    assert made.num_jumps == 0
    np.testing.assert_allclose(times, np.array(stamps) / 25, atol=1e-4)
    assert probe(path.with_name("a-prepared.mp4")).fps == pytest.approx(probe(path).fps, rel=1e-4)


def test_a_long_pause_costs_no_bits(tmp_path):
    lossless = {"num_frames": 12, "codec_options": {"crf": "0"}}
    even = make_video(tmp_path / "even.mp4", **lossless)
    paused = make_video(tmp_path / "paused.mp4", **lossless, stamps=[*range(6), *range(500, 506)])
    sizes = [prepared(path, Settings())[0].size_bytes for path in (even, paused)]
    assert abs(sizes[0] - sizes[1]) < 0.3 * sizes[0], "told of the pause, x264 writes twice as much"


def test_aligned_files_keep_their_times_too(tmp_path):
    path = joined(tmp_path, overlap=True)
    _, after, times = prepared(path, Settings(form="aligned", crf=1, gop=8))
    assert_every_frame_once(decode_plainly(path), after)
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-4)


def with_claimed_frames(path: Path, number: int) -> Path:
    """An AVI whose headers say that it has so many frames."""
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = content.index(mark) + offset
        content[at : at + 4] = number.to_bytes(4, "little")
    path.write_bytes(bytes(content))
    return path


def test_a_header_that_claims_more_frames_is_not_believed(tmp_path):
    path = with_claimed_frames(make_video(tmp_path / "a.avi", codec="mpeg4", num_frames=20), 26)
    made, after, _ = prepared(path)
    assert_every_frame_once(decode_plainly(path), after, most=8)
    assert (made.num_frames, made.num_claimed, made.breaks_off) == (20, 26, "")


def test_a_file_that_breaks_off_is_kept_as_far_as_it_decodes(tmp_path):
    path = make_video(tmp_path / "a.mp4", container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    made, _, _ = prepared(path)
    assert 10 < made.num_frames < 40
    assert (made.num_frames, made.num_claimed) == (probe(path).num_frames, 40)


def test_a_file_damaged_inside_is_refused(tmp_path):
    path = make_video(tmp_path / "a.mp4", codec_options={"bf": "0"})
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
    content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(bytes(content))
    with pytest.raises(VideoError, match="damaged: .* of 40 frames readable: "):
        transcode(path, tmp_path / "b.mp4", settings=FINE)


def test_damaged_frames_that_the_decoder_fills_are_counted(tmp_path):
    path = make_video(tmp_path / "a.mkv", codec="mpeg4", num_frames=20)
    assert prepared(path)[0].num_concealed == 0
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 2, len(content) * 3 // 4, 97):
        content[at] ^= 0x10
    path.write_bytes(content)
    made, _, _ = prepared(path)
    assert 0 < made.num_concealed <= made.num_frames == probe(path).num_frames


def test_pixels_that_are_not_square_become_square(tmp_path):
    for stretch, size in ((Fraction(2), (128, 48)), (Fraction(8, 9), (48, 48)), (Fraction(101, 100), (64, 48))):
        path = tmp_path / f"{stretch.numerator}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.sample_aspect_ratio = stretch
            for picture in pictures(3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        made, after, _ = prepared(path)
        assert (made.width, made.height) == size, "64 x 8/9 = 57, cropped to 48"
        if stretch == 2:
            twice = decode_plainly(path).repeat(2, axis=2).astype(int)
            assert np.abs(twice - after).mean() < 8
        with av.open(str(path.with_name(f"{path.stem}-prepared.mp4"))) as container:
            assert container.streams.video[0].sample_aspect_ratio in (None, 1)


def combing(frames: np.ndarray) -> float:
    """How much each row differs from the mean of its neighbors."""
    rows = frames.astype(float)
    return float(np.abs(rows[:, 1:-1] - (rows[:, :-2] + rows[:, 2:]) / 2).mean())


def woven(num_frames: int) -> np.ndarray:
    """(F, 48, 64, 3): a bar that moves 4 pixels a field; even rows are of the first field, odd rows of the second."""
    frames = np.full((num_frames, 48, 64, 3), 60, dtype=np.uint8)
    for t in range(num_frames):
        for field in range(2):
            left = 4 * (2 * t + field) % 48
            frames[t, field::2, left : left + 16] = 200
    return frames


def test_interlaced_video_is_deinterlaced(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1", "x264-params": "interlaced=1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in woven(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    before = decode_plainly(path)
    made, after, times = prepared(path)
    assert (made.num_frames, made.num_interlaced) == (12, 12)
    np.testing.assert_allclose(times, np.arange(12) / 25, atol=1e-4)
    assert combing(after) < combing(before) / 4
    middles = [row.mean(axis=-1).argmax() for row in after[:, 24].astype(int)]
    assert len(set(middles)) > 4, "the bar moves"
    with av.open(str(path.with_name("a-prepared.mp4"))) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))
    assert prepared(make_video(tmp_path / "b.mp4", num_frames=5))[0].num_interlaced == 0


def patches(*, full_range: bool) -> list[tuple[int, int, int]]:
    """Eight colors as (Y, U, V)."""
    gray = (0, 255, 128, 235) if full_range else (16, 235, 126, 218)
    return [*((y, 128, 128) for y in gray), (73, 111, 203), (122, 88, 76), (73, 192, 114), (166, 65, 142)]


def color_of(yuv: tuple[int, int, int], *, matrix: int, full_range: bool) -> np.ndarray:
    """(3,) RGB, 0 to 255, by the standards' formula (BT.601, BT.709)."""
    red, blue = WEIGHTS[matrix]
    y, u, v = yuv
    luma = y / 255 if full_range else (y - 16) / 219
    u, v = ((x - 128) / (255 if full_range else 224) for x in (u, v))
    r, b = luma + 2 * (1 - red) * v, luma + 2 * (1 - blue) * u
    return np.clip(255 * np.array([r, (luma - red * r - blue * b) / (1 - red - blue), b]), 0, 255)


def planes_at(path: Path, columns: list[int]) -> tuple[list[tuple[int, ...]], tuple[int, int]]:
    """(Y, U, V) in the middle row of the first frame, and its tags (matrix, range)."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    found = []
    for x in columns:
        values = []
        for plane in frame.planes:
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
            values.append(int(rows[plane.height // 2, x * plane.width // frame.width]))
        found.append(tuple(values))
    return found, (frame.colorspace, frame.color_range)


@pytest.mark.parametrize("short_side", [128, 64])
@pytest.mark.parametrize("matrix", [BT601, BT709])
@pytest.mark.parametrize(
    ("pixel_format", "color_range"),
    [("yuv420p", LIMITED), ("yuv422p", LIMITED), ("yuv444p", LIMITED), ("yuv444p", FULL), ("yuvj420p", FULL)],
)
def test_colors_stay_and_are_tagged(tmp_path, pixel_format, color_range, matrix, short_side):
    full_range = color_range == FULL
    colors = patches(full_range=full_range)
    width, height = 64 * len(colors), 128
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range
        frame = av.VideoFrame(width, height, pixel_format)
        for k, plane in enumerate(frame.planes):
            row = np.repeat([color[k] for color in colors], plane.width // len(colors)).astype(np.uint8)
            full = np.zeros((plane.height, plane.line_size), dtype=np.uint8)
            full[:, : plane.width] = row
            plane.update(full.tobytes())
        frame.colorspace, frame.color_range = matrix, color_range
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    transcode(path, tmp_path / "b.mp4", settings=Settings(short_side=short_side, crf=1))
    scale = short_side / height
    after, tags = planes_at(tmp_path / "b.mp4", [round(scale * (64 * k + 32)) for k in range(len(colors))])
    assert tags == (matrix, LIMITED)
    for source, made in zip(colors, after, strict=True):
        wanted = color_of(source, matrix=matrix, full_range=full_range)
        shown = color_of(made, matrix=matrix, full_range=False)
        # Rounding to 8-bit levels alone costs half a step: 0.6 of luma, and 1.1 of the color farthest from it.
        most = 1.7 if full_range else 1.0
        assert np.abs(wanted - shown).max() <= most, (source, made)


@given(st.lists(st.integers(-(10**9), 10**9) | st.none(), min_size=1, max_size=40))
def test_times_rise_whatever_the_stamps_do(stamps):
    clock = Clock(time_base=Fraction(1, 1000), rate=Fraction(25))
    times = [clock.time_of(stamp) for stamp in stamps]
    assert times[0] == 0
    assert all(0 < after - before <= 60_000 for before, after in itertools.pairwise(times))


def test_sane_stamps_are_kept_and_others_follow_at_the_usual_step():
    clock = Clock(time_base=Fraction(1, 1000), rate=Fraction(25))
    stamps = [500, 540, 580, 1580, 1620, None, 20, 60, 100, 10**8, 10**8 + 40]
    assert [clock.time_of(s) for s in stamps] == [0, 40, 80, 1080, 1120, 1160, 1200, 1240, 1280, 1320, 1360]
    assert clock.num_jumps == 1, "a stamp that is missing is no jump"
    bare = Clock(time_base=Fraction(1, 1000), rate=Fraction(25))
    assert [bare.time_of(None) for _ in range(4)] == [0, 40, 80, 120]


RIGHT = {
    "joined_recordings_150frames.ts": (150, 160, 112),
    "stamps_jump_back_150frames.ts": (150, 160, 128),
    "vfr_30_then_5fps_70frames.mp4": (70, 160, 112),
    "vfr_pause_of_20s_75frames.mp4": (75, 160, 112),
    "pixels_2to1_160x120.mp4": (75, 320, 112),
    "rotated_90.mp4": (75, 112, 160),
    "two_streams_second_default.mp4": (75, 160, 112),
    "avi_header_claims_more_frames_1.avi": (30, 320, 240),
    "avi_header_claims_more_frames_2.avi": (40, 320, 240),
    "avi_header_claims_more_frames_3.avi": (40, 320, 240),
}


@pytest.mark.skipif(not FAULTS.is_dir(), reason="no folder of real faults")
@pytest.mark.parametrize("name", RIGHT)
def test_files_that_other_programs_wrote(tmp_path, name):
    made = transcode(FAULTS / name, tmp_path / "b.mp4", settings=Settings())
    assert (made.num_frames, made.width, made.height) == RIGHT[name]
