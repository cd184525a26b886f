"""frames.py against plain sequential decoding, bit for bit."""

import av
import numpy as np
import pytest

from pipelines.errors import InputError, VideoError
from pipelines.video.cut import cut_short
from pipelines.video.frames import decode_frames
from pipelines.video.probe import probe
from tests.support.videos import (
    decode_plainly,
    make_video,
    needs_real_videos,
    pack_b_frames,
    real_videos,
    remux,
)

X265 = "log-level=none:bframes=3:keyint=10:"
OPEN_GOP = {"bf": "3", "x264-params": "open-gop=1:scenecut=0:b-adapt=0"}
MADE = {
    "b_frames.mp4": {"codec_options": {"bf": "3"}},
    "no_b_frames.mp4": {"codec_options": {"bf": "0"}},
    "b_frames.mkv": {"codec_options": {"bf": "3"}},
    "b_frames.avi": {"codec_options": {"bf": "3"}},
    "b_frames.ts": {"codec_options": {"bf": "3"}},
    "open_gop.mp4": {"codec_options": OPEN_GOP},
    "intra_refresh.mp4": {"codec_options": {"bf": "0", "x264-params": "intra-refresh=1:keyint=10"}},
    "hevc_open_gop.mp4": {"codec": "libx265", "codec_options": {"x265-params": f"{X265}open-gop=1"}},
    "hevc.mp4": {"codec": "libx265", "codec_options": {"x265-params": f"{X265}open-gop=0"}},
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"auto-alt-ref": "1", "lag-in-frames": "12"}},
    "vp9.mp4": {"codec": "libvpx-vp9", "codec_options": {"auto-alt-ref": "1", "lag-in-frames": "12"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "codec_options": {"bf": "2"}},
    "mpeg4_b_frames.mp4": {"codec": "mpeg4", "codec_options": {"bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "variable_rate.mp4": {"stamps": [t + t * t // 9 for t in range(40)]},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "odd_width.mp4": {"width": 58, "pixel_format": "yuv444p"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name, options in MADE.items():
        make_video(folder / name, **options)
    h264 = folder / "b_frames.mp4"
    remux(h264, folder / "late_start.mp4", shift=5120)
    remux(h264, folder / "edit_list.mp4", shift=-6 * 512)
    remux(folder / "open_gop.mp4", folder / "edit_list_open_gop.mp4", shift=-6 * 512)
    remux(folder / "open_gop.mp4", folder / "starts_with_leading.mp4", skip_packets=10)
    remux(folder / "hevc_open_gop.mp4", folder / "hevc_starts_with_leading.mp4", skip_packets=10)
    alternating = {"bf": "1", "b_strategy": "0", "sc_threshold": "1000000000"}
    make_video(folder / "one_b_frame.avi", codec="mpeg4", num_frames=41, gop=100, codec_options=alternating)
    pack_b_frames(folder / "one_b_frame.avi", folder / "packed_b_frames.avi")
    return folder


MADE_NAMES = [
    *MADE,
    "late_start.mp4",
    "edit_list.mp4",
    "edit_list_open_gop.mp4",
    "starts_with_leading.mp4",
    "hevc_starts_with_leading.mp4",
    "one_b_frame.avi",
    "packed_b_frames.avi",
]


def assert_equal_to_plain(path, *, num_draws):
    plain = decode_plainly(path)
    exact_seek = probe(path).exact_seek
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(plain), rng.integers(1, 6)) for _ in range(num_draws)]
    for frames in [*draws, np.arange(len(plain)), np.arange(len(plain))[::-1], [len(plain) - 1], [0, 0]]:
        for exact in {exact_seek, False}:
            decoded = decode_frames(path, frames, exact_seek=exact)
            assert decoded.dtype == np.uint8
            np.testing.assert_array_equal(decoded, plain[frames], err_msg=f"{path.name} {frames} {exact=}")


@pytest.mark.parametrize("name", MADE_NAMES)
def test_equals_plain_decoding(made, name):
    assert_equal_to_plain(made / name, num_draws=8)


@needs_real_videos
@pytest.mark.parametrize("path", real_videos(), ids=lambda path: path.name)
def test_equals_plain_decoding_of_real_clips(path):
    assert_equal_to_plain(path, num_draws=2)


def test_packed_b_frames_are_what_they_claim(made):
    """Else the test above would prove nothing of packed streams."""
    np.testing.assert_array_equal(
        decode_plainly(made / "packed_b_frames.avi"), decode_plainly(made / "one_b_frame.avi")
    )


def test_bytes_decode_as_the_file_does(made):
    path = made / "open_gop.mp4"
    for exact_seek in (True, False):
        of_bytes = decode_frames(path.read_bytes(), [31, 7, 7], exact_seek=exact_seek)
        np.testing.assert_array_equal(of_bytes, decode_plainly(path)[[31, 7, 7]])


def test_a_claim_of_exact_seek_without_time_stamps_is_survived(made):
    path = made / "packed_b_frames.avi"
    frames = np.array([40])
    assert decode_frames(path, frames, exact_seek=True).shape == (1, 48, 64, 3)


def test_a_wrong_start_would_be_noticed(made):
    """The comparison has teeth: decoding open GOPs without the GOP before gives other pixels."""
    path = made / "open_gop.mp4"
    plain = decode_plainly(path)
    with av.open(str(path)) as container:
        keyframe = [i for i, frame in enumerate(container.decode(video=0)) if frame.key_frame][1]
    cut = cut_short(path, np.array([keyframe - 1]))
    np.testing.assert_array_equal(decode_frames(cut.content, cut.frames, exact_seek=False)[0], plain[keyframe - 1])
    remux(path, path.with_name("cut_at_keyframe.mp4"), skip_packets=10)
    assert not np.array_equal(decode_plainly(path.with_name("cut_at_keyframe.mp4"))[0], plain[keyframe - 1])


@pytest.mark.parametrize("exact_seek", [True, False])
def test_too_few_frames(made, exact_seek):
    with pytest.raises(VideoError, match="40 frames readable, asked for frame 40"):
        decode_frames(made / "b_frames.mp4", [3, 40], exact_seek=exact_seek)


@pytest.mark.parametrize("frames", [[], [-1, 3], [[1, 2]]])
def test_refuses_impossible_requests(made, frames):
    with pytest.raises(InputError, match=r"frames: received .*; accepted: one or more indices from 0"):
        decode_frames(made / "b_frames.mp4", frames, exact_seek=True)


@pytest.mark.parametrize("exact_seek", [True, False])
def test_a_size_that_changes_midway(tmp_path, exact_seek):
    make_video(tmp_path / "small.ts", num_frames=10)
    make_video(tmp_path / "large.ts", num_frames=10, width=96)
    both = (tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes()
    (tmp_path / "both.ts").write_bytes(both)
    with pytest.raises(VideoError, match="the picture size changes from 64x48 to 96x48"):
        decode_frames(tmp_path / "both.ts", [0, 15], exact_seek=exact_seek)


@pytest.mark.parametrize("data", [b"", b"hello, this is no video\n" * 100, bytes(5000)])
def test_not_a_video(data):
    with pytest.raises(VideoError):
        decode_frames(data, [0], exact_seek=True)


def test_a_missing_file(tmp_path):
    with pytest.raises(VideoError, match="No such file"):
        decode_frames(tmp_path / "absent.mp4", [0], exact_seek=False)


def test_an_absurd_size_is_refused(tmp_path):
    """A broken header may ask for gigabytes a picture."""
    path = make_video(tmp_path / "a.avi", codec="mjpeg", pixel_format="yuvj420p", num_frames=2)
    data = path.read_bytes().replace(b"\x00\x30\x00\x40\x03", b"\xff\xf0\xff\xf0\x03")  # height, width in SOF0
    assert data != path.read_bytes()
    for exact_seek in (True, False):
        with pytest.raises(VideoError):
            decode_frames(data, [0], exact_seek=exact_seek)


def corrupted(data: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(4)
    if kind == 0:
        return data[: rng.integers(len(data))]
    changed = bytearray(data)
    reach = {1: 600, 2: len(data), 3: len(data)}[int(kind)]  # headers of AVI and Matroska lie in front
    for _ in range(rng.integers(1, 20)):
        at = int(rng.integers(min(reach, len(data))))
        changed[-1 - at if kind == 3 else at] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("name", ["b_frames.mp4", "open_gop.mp4", "hevc.mp4", "mpeg4.avi", "vp9.webm", "b_frames.mkv"])
def test_corrupt_files_raise_nothing_but_video_errors(made, tmp_path, name):
    rng = np.random.default_rng(sum(name.encode()))
    data = (made / name).read_bytes()
    reasons = []
    for _ in range(30):
        file = tmp_path / "corrupt"
        file.write_bytes(corrupted(data, rng))
        try:
            facts = probe(file)
            decode_frames(file, [0, facts.num_frames - 1, facts.num_frames // 2], exact_seek=facts.exact_seek)
            decode_frames(file.read_bytes(), [facts.num_frames // 2, 1], exact_seek=not facts.exact_seek)
        except VideoError as error:
            reasons.append(str(error))
    assert reasons, "nothing was corrupted enough: the test proves nothing"
    assert all(0 < len(reason) < 200 for reason in reasons)
