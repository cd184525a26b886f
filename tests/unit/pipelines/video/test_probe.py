"""probe.py: facts against those of plain decoding, and the reasons of unusable files."""

import os
import struct

import av
import numpy as np
import pytest

from pipelines.errors import VideoError
from pipelines.video import container as container_module
from pipelines.video import probe as probe_module
from pipelines.video.frames import decode_frames
from pipelines.video.probe import UnreadableError, probe
from tests.support.videos import decode_plainly, make_video, needs_real_videos, pictures, real_videos, remux

OPEN_GOP = {"bf": "3", "x264-params": "open-gop=1:scenecut=0:b-adapt=0"}


def assert_facts_are_those_of_plain_decoding(path):
    facts = probe(path)
    plain = decode_plainly(path)
    assert (facts.num_frames, facts.stored_height, facts.stored_width) == plain.shape[:3]
    assert (facts.size_bytes, facts.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    return facts


@needs_real_videos
@pytest.mark.parametrize("path", real_videos(), ids=lambda path: path.name)
def test_facts_of_real_clips(path):
    facts = assert_facts_are_those_of_plain_decoding(path)
    fps = {"h264_426x240_29.97fps.mp4": 30000 / 1001, "k400_style_h264_340x256_28fps.mp4": 28.0}
    if path.name in fps:
        assert facts.fps == pytest.approx(fps[path.name], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "exact_seek"),
    [
        ("a.mp4", {}, True),
        ("a.mkv", {}, True),
        ("open_gop.mp4", {"codec_options": OPEN_GOP}, True),
        ("refresh.mp4", {"codec_options": {"bf": "0", "x264-params": "intra-refresh=1:keyint=10"}}, True),
        ("h264.avi", {}, False),  # AVI has no time stamps of B-frames
        ("mpeg4.avi", {"codec": "mpeg4"}, True),
        ("vp9.webm", {"codec": "libvpx-vp9"}, True),
        ("high.mp4", {"pixel_format": "yuv420p10le"}, True),
    ],
)
def test_facts_of_made_videos(tmp_path, name, options, exact_seek):
    facts = assert_facts_are_those_of_plain_decoding(make_video(tmp_path / name, fps=30, **options))
    assert facts.exact_seek is exact_seek
    assert facts.fps == pytest.approx(30, rel=1e-3)
    assert facts.pixel_format == options.get("pixel_format", "yuv420p")
    assert facts.codec == {"mpeg4": "mpeg4", "libvpx-vp9": "vp9"}.get(options.get("codec"), "h264")


def test_average_rate_of_a_variable_one(tmp_path):
    path = make_video(tmp_path / "a.mp4", num_frames=5, fps=10, stamps=[0, 1, 2, 13, 20])
    assert probe(path).fps == pytest.approx(4 / 2.0)


def test_edit_lists_and_leading_pictures_are_counted_out(tmp_path):
    make_video(tmp_path / "a.mp4", codec_options=OPEN_GOP)
    remux(tmp_path / "a.mp4", tmp_path / "edit.mp4", shift=-6 * 512)
    remux(tmp_path / "a.mp4", tmp_path / "leading.mp4", skip_packets=10)
    for name in ("edit.mp4", "leading.mp4"):
        facts = assert_facts_are_those_of_plain_decoding(tmp_path / name)
        assert facts.num_frames < 40


def test_common_files_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(probe_module, "_decode_all", lambda *args, **kwargs: pytest.fail("decoded in full"))
    for name, options in {"h264.mp4": {}, "h264.mov": {}, "hevc.mp4": {"codec": "libx265"}}.items():
        quiet = {"codec_options": {"x265-params": "log-level=none"}} if "codec" in options else {}
        assert probe(make_video(tmp_path / name, **options, **quiet)).num_frames == 40


def test_recovery_points_are_tried_out(tmp_path, monkeypatch):
    """H.264 keyframes that are no IDR pictures promise nothing: where a cut shows other pixels there is no cutting."""
    path = make_video(tmp_path / "a.mp4", codec_options=OPEN_GOP)
    assert probe(path).exact_seek
    honest = probe_module.shown
    monkeypatch.setattr(probe_module, "shown", lambda made: honest(made) ^ 1)
    assert not probe(path).exact_seek


def test_a_file_that_breaks_off_counts_with_what_is_there(tmp_path):
    path = make_video(tmp_path / "a.mp4", container_options={"movflags": "faststart"})
    whole = decode_plainly(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    facts = probe(path)
    assert 10 < facts.num_frames < 40
    first = probe_module.decode_frames(path, range(10), exact_seek=facts.exact_seek)
    np.testing.assert_array_equal(first, whole[:10])
    probe_module.decode_frames(path, [facts.num_frames - 1], exact_seek=facts.exact_seek)
    with pytest.raises(VideoError, match=f"{facts.num_frames} frames readable"):
        probe_module.decode_frames(path, [facts.num_frames], exact_seek=facts.exact_seek)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "^empty file$"),
        (b"no video but a text\n" * 50, "^not a video: no readable header"),
        (bytes(4096), "^not a video: no readable header"),
    ],
)
def test_reasons_of_files_that_are_no_videos(tmp_path, data, reason):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(VideoError, match=reason):
        probe(tmp_path / "a.mp4")


@pytest.mark.parametrize("number", [1_000_000, 30_000_000, 2**32 - 1])
def test_a_header_that_claims_more_packets_than_bytes_costs_nothing(tmp_path, number):
    """FFmpeg would take two gigabytes for 30 million packets of a file of 10 kB."""
    content = bytearray(make_video(tmp_path / "a.mp4", num_frames=10).read_bytes())
    for box, offset, values in ((b"stsz", 8, (1, number)), (b"stts", 12, (number,)), (b"stsc", 16, (number,))):
        at = content.index(box) + offset
        content[at : at + 4 * len(values)] = struct.pack(f">{len(values)}I", *values)
    (tmp_path / "b.mp4").write_bytes(content)
    with pytest.raises(VideoError, match="its header claims more packets than the file has bytes"):
        probe(tmp_path / "b.mp4")


def test_sound_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"^no video stream$"):
        probe(tmp_path / "a.mp4")


def test_a_size_that_changes_midway(tmp_path):
    make_video(tmp_path / "small.ts", num_frames=10)
    make_video(tmp_path / "large.ts", num_frames=10, width=96)
    both = (tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes()
    (tmp_path / "both.ts").write_bytes(both)
    with pytest.raises(VideoError, match="the picture size changes from 64x48 to 96x48 at frame 10"):
        probe(tmp_path / "both.ts")


def test_what_is_no_file(tmp_path):
    with pytest.raises(UnreadableError, match=r"^missing$"):
        probe(tmp_path / "absent.mp4")
    with pytest.raises(VideoError, match=r"^not a file$"):
        probe(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would wait for ever
    with pytest.raises(VideoError, match=r"^not a file$"):
        probe(tmp_path / "pipe.mp4")


def test_a_cover_before_the_video_is_passed_over(tmp_path, monkeypatch):
    """Which stream is a cover, the container says; FFmpeg's muxers put none before a video, so it is said here."""
    path = tmp_path / "cover.mkv"
    with av.open(str(path), "w") as container:
        cover, video = container.add_stream("mjpeg", rate=1), container.add_stream("libx264", rate=25)
        for stream, pixel_format in ((cover, "yuvj420p"), (video, "yuv420p")):
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for stream, num_frames in ((cover, 1), (video, 20)):
            for picture in pictures(num_frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    assert probe(path).codec == "mjpeg"
    monkeypatch.setattr(container_module, "is_moving", lambda stream: stream.codec_context.name != "mjpeg")
    assert (probe(path).codec, probe(path).num_frames) == ("h264", 20)
    assert decode_frames(path, [19, 0], exact_seek=True).shape == (2, 48, 64, 3)
