"""container.py: which files and streams are opened, what they may cost, and that nothing is kept."""

import ctypes
import gc
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.errors import VideoError
from pipelines.video import container as container_module
from pipelines.video.container import open_video
from pipelines.video.frames import decode_frames, decode_from_start
from pipelines.video.probe import probe
from tests.support.videos import decode_plainly, make_video, pictures

PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile good.mp4\n",
    "itself": "ffconcat version 1.0\nfile itself.mp4\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ngood.ts\n#EXT-X-ENDLIST\n",
    "http": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "ssa": "[Script Info]\nTitle: no video\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_file_that_names_other_files_is_no_video(tmp_path, name):
    make_video(tmp_path / "good.mp4", num_frames=5)
    make_video(tmp_path / "good.ts", num_frames=5)
    path = tmp_path / f"{name}.mp4"
    path.write_text(PLAYLISTS[name])
    with pytest.raises(VideoError, match="^not a video: no readable header"):
        probe(path)
    with pytest.raises(VideoError):
        decode_frames(path.read_bytes(), [0], exact_seek=False)


def test_the_names_of_the_demuxers_are_ones_that_there_are():
    known = {name for names in av.formats_available for name in names.split(",")}
    assert set(container_module.DEMUXERS) <= known
    assert known & {"concat", "hls", "dash", "sdp", "rtsp", "image2", "lavfi", "imf"}, "FFmpeg has them, unasked for"
    assert not set(container_module.DEMUXERS) & {"concat", "hls", "dash", "sdp", "rtsp", "image2", "lavfi", "imf"}


def two_streams(path: Path, *, default: int | None) -> Path:
    """A video 64 pixels wide and one 96 wide, of which one may be marked as the default."""
    with av.open(str(path), "w") as writer:
        streams = [writer.add_stream("libx264", rate=25) for _ in range(2)]
        for number, (stream, width) in enumerate(zip(streams, (64, 96), strict=True)):
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            stream.disposition = av.stream.Disposition.default if number == default else 0
        for stream in streams:
            for picture in pictures(5, width=stream.width):
                writer.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            writer.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("default", "width"), [(0, 64), (1, 96), (None, 64)])
def test_of_two_streams_the_default_one_is_taken(tmp_path, default, width):
    path = two_streams(tmp_path / "two.mkv", default=default)
    facts = probe(path)
    assert facts.width == width
    assert decode_frames(path, [4, 0], exact_seek=facts.exact_seek).shape == (2, 48, width, 3)


def test_a_file_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mkv", num_frames=5)
    probe(path)
    monkeypatch.setattr(container_module, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(container_module, "SECONDS_PER_MEGAPIXEL", 0.0)
    for refused in (lambda: probe(path), lambda: decode_frames(path, [3], exact_seek=False)):
        with pytest.raises(VideoError, match="too slow: 0 s of processor time for 1 packet"):
            refused()


def test_a_stream_of_too_many_packets_is_given_up(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mkv", num_frames=5)
    monkeypatch.setattr(container_module, "MAX_PACKETS", 4)
    with pytest.raises(VideoError, match="more than 4 packets"):
        probe(path)


def bytes_in_use() -> int:
    """The bytes that malloc has handed out, which tracemalloc cannot see."""

    class Mallinfo2(ctypes.Structure):
        names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("this C library does not say how much memory is in use")
    libc.mallinfo2.restype = Mallinfo2
    gc.collect()
    return int(libc.mallinfo2().uordblks)


def test_decoding_some_frames_leaves_no_memory_behind(tmp_path):
    content = make_video(tmp_path / "a.mp4", num_frames=10).read_bytes()
    wanted = np.array([0, 3])

    def decode(times: int) -> None:
        for _ in range(times):
            for _slot, _frame in decode_from_start(content, wanted):
                pass

    decode(50)
    before = bytes_in_use()
    decode(400)
    assert (bytes_in_use() - before) / 400 < 60, "PyAV's dropped generators leave 150 bytes each"


def test_frames_are_those_of_plain_decoding(tmp_path):
    path = make_video(tmp_path / "a.mkv", codec_options={"bf": "3"})
    with open_video(path) as (container, stream):
        frames = [frame.to_ndarray(format="rgb24") for frame in container_module.decode_all(container, stream)]
    np.testing.assert_array_equal(np.stack(frames), decode_plainly(path))
