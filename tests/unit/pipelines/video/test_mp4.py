"""mp4.py: what it reads is what FFmpeg reads, what it is not sure of it leaves alone; FFmpeg reads what it writes."""

import io

import av
import numpy as np
import pytest

from pipelines.errors import VideoError
from pipelines.video import cut as cut_module
from pipelines.video.cut import cut
from pipelines.video.mp4 import open_mp4, write_mp4
from tests.support.videos import decode_plainly, make_video, remux

OPEN_GOP = {"x264-params": "bframes=3:b-adapt=0:open-gop=1:scenecut=0"}
HEVC_OPEN = {"x265-params": "log-level=none:bframes=3:keyint=10:open-gop=1"}
READ = {
    "plain.mp4": {},
    "moov_first.mp4": {"container_options": {"movflags": "faststart"}},
    "no_b.mp4": {"codec_options": {"bf": "0"}},  # no ctts box
    "intra.mp4": {"codec_options": {"x264-params": "keyint=1"}},  # no stss box
    "negative_offsets.mp4": {"container_options": {"movflags": "negative_cts_offsets"}},
    "no_edit_list.mp4": {"container_options": {"use_editlist": "0"}},
    "quicktime.mov": {},
    "slices.mp4": {"codec_options": {"x264-params": "slices=4:aud=1:repeat-headers=1"}},
    "variable_rate.mp4": {"stamps": [t + t * t // 9 for t in range(40)]},
    "hevc.mp4": {"codec": "libx265", "codec_options": HEVC_OPEN},
}
LEFT = {
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "vp9.mp4": {"codec": "libvpx-vp9"},
    "matroska.mkv": {},
    "transport.ts": {},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mp4")
    for name, options in {**READ, **LEFT}.items():
        make_video(folder / name, **options)
    make_video(folder / "open_gop.mp4", codec_options=OPEN_GOP)
    with_sound(folder / "plain.mp4", folder / "sound.mp4")
    remux(folder / "plain.mp4", folder / "late.mp4", shift=5120)
    return folder


def with_sound(source, path) -> None:
    """Video and sound in turns, so that the video's packets lie in many chunks."""
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        old = reader.streams.video[0]
        sound = writer.add_stream("aac", rate=44100, layout="mono")
        video = writer.add_stream_from_template(old)
        for number, packet in enumerate(p for p in reader.demux(old) if p.size):
            packet.stream = video
            writer.mux(packet)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1764), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1764 * number
            writer.mux(sound.encode(frame))
        writer.mux(sound.encode(None))


@pytest.mark.parametrize("name", [*READ, "sound.mp4", "late.mp4"])
def test_packets_are_those_that_ffmpeg_reads(made, name):
    with av.open(str(made / name)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        extradata = container.streams.video[0].codec_context.extradata
    for source in (made / name, (made / name).read_bytes()):
        with open_mp4(source) as mp4:
            read = [mp4.read(*where) for where in zip(mp4.offsets.tolist(), mp4.sizes.tolist(), strict=True)]
            assert read == [bytes(packet) for packet in packets]
            assert np.argsort(mp4.pts).tolist() == np.argsort([packet.pts for packet in packets]).tolist()
            assert mp4.keyframe.tolist() == [packet.is_keyframe for packet in packets]
            assert mp4.length_size == 4
            assert extradata in mp4.description


@pytest.mark.parametrize("name", LEFT)
def test_other_kinds_are_left_to_ffmpeg(made, name):
    with open_mp4(made / name) as mp4:
        assert mp4 is None


def test_files_of_which_some_is_hidden_are_left_to_ffmpeg(made, tmp_path):
    for shift in (-6 * 512, -512):
        with open_mp4(remux(made / "plain.mp4", tmp_path / "edit.mp4", shift=shift)) as mp4:
            assert mp4 is None
    data = (made / "plain.mp4").read_bytes()
    at = data.index(b"elst") + 12
    ends_early = data[:at] + (1500).to_bytes(4, "big") + data[at + 4 :]  # milliseconds, of 1600
    assert len(decode_plainly(io_file(tmp_path, ends_early))) < 40
    with open_mp4(ends_early) as mp4:
        assert mp4 is None


def io_file(folder, data: bytes):
    (folder / "changed.mp4").write_bytes(data)
    return folder / "changed.mp4"


def test_two_video_tracks_are_left_to_ffmpeg(made, tmp_path):
    with av.open(str(made / "plain.mp4")) as reader, av.open(str(tmp_path / "two.mp4"), "w") as writer:
        old = reader.streams.video[0]
        new = [writer.add_stream_from_template(old) for _ in range(2)]
        for packet in [packet for packet in reader.demux(old) if packet.size]:
            for stream in new:
                packet.stream = stream
                writer.mux(packet)
    with open_mp4(tmp_path / "two.mp4") as mp4:
        assert mp4 is None


@pytest.mark.parametrize("name", ["plain.mp4", "open_gop.mp4", "hevc.mp4", "no_b.mp4", "sound.mp4"])
def test_cuts_hold_the_packets_that_ffmpeg_would_choose(made, name, monkeypatch):
    rng = np.random.default_rng(0)
    requests = [rng.integers(0, 40, rng.integers(1, 5)) for _ in range(12)] + [np.arange(40)]
    for frames in requests:
        quick = cut(made / name, frames, exact_seek=True)
        with monkeypatch.context() as patch:
            patch.setattr(cut_module, "_piece_of", lambda *_, **__: None)
            slow = cut(made / name, frames, exact_seek=True)
        assert quick.content != slow.content, "else this compares nothing"
        assert quick.frames.tolist() == slow.frames.tolist()
        assert summary(quick.content) == summary(slow.content)


def summary(content: bytes) -> tuple:
    """Packets, their order, keyframes and the decoder's configuration."""
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        first = packets[0].pts
        rows = [(bytes(packet), (packet.pts - first) * stream.time_base) for packet in packets]
        return rows, stream.codec_context.extradata, stream.width, stream.height, stream.frames


@pytest.mark.parametrize("name", ["plain.mp4", "hevc.mp4"])
def test_written_files_are_those_that_were_read(made, name):
    with open_mp4(made / name) as mp4:
        packets = [mp4.read(*where) for where in zip(mp4.offsets.tolist(), mp4.sizes.tolist(), strict=True)]
        content = write_mp4(mp4, packets, ranks=np.argsort(np.argsort(mp4.pts)), keyframe=mp4.keyframe)
    with av.open(io.BytesIO(content)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    np.testing.assert_array_equal(frames, decode_plainly(made / name))
    with open_mp4(content) as again:
        assert again.keyframe.tolist() == mp4.keyframe.tolist()


def test_damaged_headers_are_left_to_ffmpeg(made):
    """Whatever the bytes, nothing is raised and nothing is read outside the file."""
    data = (made / "moov_first.mp4").read_bytes()
    rng = np.random.default_rng(0)
    begin, end = data.index(b"moov"), data.index(b"mdat")
    num_left = 0
    for _ in range(300):
        changed = bytearray(data)
        for at in rng.integers(begin, end, rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        with open_mp4(bytes(changed)) as mp4:
            num_left += mp4 is None
            if mp4 is not None:
                assert len(mp4.pts) == len(mp4.keyframe) == len(mp4.offsets) == len(mp4.sizes)
    assert 50 < num_left < 300, "else nothing was damaged, or everything"
    for length in range(0, begin + 400, 7):
        with open_mp4(data[:length]) as mp4:
            assert mp4 is None


def test_a_file_that_ends_before_its_packets_is_left_to_ffmpeg(made):
    data = (made / "moov_first.mp4").read_bytes()
    short = data[: len(data) * 2 // 3]
    frames = [3, 5]
    with open_mp4(short) as mp4:
        assert mp4 is None
    assert summary(cut(short, frames, exact_seek=True).content) == summary(cut(data, frames, exact_seek=True).content)
    with pytest.raises(VideoError, match="frames readable, asked for frame 39"):
        cut(short, [39], exact_seek=True)
