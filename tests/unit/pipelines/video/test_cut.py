"""cut.py: decoding a cut from its start equals decoding the whole file, frame by frame."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError, VideoError
from pipelines.video.cut import Cut, cut, cut_short
from pipelines.video.encoding import Settings
from pipelines.video.frames import decode_frames
from pipelines.video.mp4 import Mp4
from pipelines.video.probe import probe
from pipelines.video.transcode import transcode
from tests.support.nvdec import order_on_nvdec
from tests.support.videos import decode_plainly, make_video, needs_real_videos, pack_b_frames, real_videos, remux


def x264(parameters: str) -> dict:
    return {"codec_options": {"x264-params": f"scenecut=0:{parameters}"}}


def x265(parameters: str) -> dict:
    return {"codec": "libx265", "codec_options": {"x265-params": f"log-level=none:keyint=10:scenecut=0:{parameters}"}}


MADE = {
    "temporal_direct.mp4": x264("bframes=3:b-adapt=0:b-pyramid=none:direct=temporal:ref=4"),
    "pyramid.mp4": x264("bframes=3:b-adapt=0:b-pyramid=normal:direct=spatial:weightp=2:weightb=1:ref=5"),
    "one_reference.mp4": x264("bframes=5:b-pyramid=strict:ref=1"),
    "open_gop.mp4": x264("bframes=3:b-adapt=0:b-pyramid=normal:open-gop=1:ref=4"),
    "interlaced.mp4": x264("interlaced=1:bframes=2:b-adapt=0"),
    "slices.mp4": x264("slices=4:bframes=2:b-adapt=0:aud=1"),
    "repeated_headers.mp4": x264("repeat-headers=1:bframes=3:b-adapt=0"),
    "many_b.mp4": x264("bframes=16:b-adapt=2"),
    "no_b.mp4": x264("bframes=0"),
    "b_frames.mkv": x264("bframes=3:b-adapt=0"),
    "annex_b.ts": x264("bframes=3:b-adapt=0"),
    "fragments.mp4": {**x264("bframes=3"), "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "variable_rate.mp4": {**x264("bframes=3:b-adapt=0"), "stamps": [t + t * t // 9 for t in range(40)]},
    "hevc.mp4": x265("bframes=4:b-pyramid=1:open-gop=0"),
    "hevc_open_gop.mp4": x265("bframes=4:b-pyramid=1:open-gop=1"),
    "hevc_sub_layers.mp4": x265("bframes=4:temporal-layers=3:open-gop=0"),
    "hevc_radl.mp4": x265("bframes=3:radl=2:open-gop=0"),
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"auto-alt-ref": "1", "lag-in-frames": "12"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_b.avi": {"codec": "mpeg4", "codec_options": {"bf": "2"}},
    "mpeg4_b.mp4": {"codec": "mpeg4", "codec_options": {"bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "intra_refresh.mp4": {"codec_options": {"bf": "0", "x264-params": "intra-refresh=1:keyint=10"}},
    "no_time_stamps.avi": x264("bframes=3:b-adapt=0"),
    "no_mp4_holds_it.webm": {"codec": "libvpx"},
}
REMADE = ["late_start.mp4", "edit_list.mp4", "edit_list_open_gop.mp4", "packed_b.avi"]
TRIMMED = ["open_gop.mp4", "hevc_open_gop.mp4", "hevc_radl.mp4", "mpeg4_b.mp4"]
"""Also without their first GOP, as `ffmpeg -ss ... -c copy` leaves them: leading pictures begin the file, hidden by an
edit list."""
REMADE += [f"trimmed_{name}" for name in TRIMMED]
RADL_FIRST = ["radl_first.mp4", "radl_first.mkv"]
REMADE += RADL_FIRST
WHOLE = {"no_mp4_holds_it.webm", "no_time_stamps.avi"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """{name: (path, its frames decoded plainly, whether probing found that cuts are exact)}"""
    folder = tmp_path_factory.mktemp("videos")
    for name, options in MADE.items():
        make_video(folder / name, **options)
    remux(folder / "pyramid.mp4", folder / "late_start.mp4", shift=5120)
    remux(folder / "pyramid.mp4", folder / "edit_list.mp4", shift=-6 * 512)
    remux(folder / "open_gop.mp4", folder / "edit_list_open_gop.mp4", shift=-6 * 512)
    for name in TRIMMED:
        trim(folder / name, folder / f"trimmed_{name}")
    radl = x265("radl=2:bframes=3:b-adapt=0:open-gop=0:min-keyint=10")
    make_video(folder / "radl.mp4", **radl)
    for name in RADL_FIRST:
        no_edits = {"use_editlist": "0"} if name.endswith(".mp4") else {}
        remux(folder / "radl.mp4", folder / name, skip_packets=8, container_options=no_edits)
    alternating = {"bf": "1", "b_strategy": "0", "sc_threshold": "1000000000"}
    make_video(folder / "one_b.avi", codec="mpeg4", num_frames=41, gop=100, codec_options=alternating)
    pack_b_frames(folder / "one_b.avi", folder / "packed_b.avi")
    paths = [folder / name for name in [*MADE, *REMADE]]
    return {path.name: (path, decode_plainly(path), probe(path).exact_seek) for path in paths}


def trim(source, path):
    """Without the packets before the second keyframe; time 0 is when that is shown."""
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    second = [number for number, packet in enumerate(packets) if packet.is_keyframe][1]
    return remux(source, path, skip_packets=second, shift=-packets[second].pts)


def decoded(piece: Cut) -> np.ndarray:
    """Every frame of a cut, by a decoder that knows nothing of it."""
    with av.open(io.BytesIO(piece.content)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def num_packets(piece: Cut) -> int:
    with av.open(io.BytesIO(piece.content)) as container:
        return sum(packet.dts is not None for packet in container.demux(video=0))


def assert_exact(path, plain, frames, *, exact_seek: bool) -> None:
    for droppable in (True, False):
        piece = cut(path, frames, exact_seek=exact_seek, droppable=droppable)
        assert piece.frames.dtype == np.int32
        pictures = decoded(piece)
        np.testing.assert_array_equal(pictures[piece.frames], plain[frames], err_msg=f"{path.name} {frames}")
        if exact_seek:
            assert len(pictures) == num_packets(piece), "each packet of a cut becomes one frame"
            assert_in_order_on_nvdec(piece)


def assert_in_order_on_nvdec(piece: Cut) -> None:
    """A time of -1 means an empty place to DALI, and two equal ones would be one picture."""
    with av.open(io.BytesIO(piece.content)) as container:
        order = order_on_nvdec([int(packet.pts) for packet in container.demux(video=0) if packet.size])
    assert order == sorted(set(order))
    assert order[0] >= 0


def test_the_model_of_nvdec_sees_what_dali_could_not_put_in_order():
    """Eight pictures may wait: what is decoded first and shown ninth comes too early."""
    assert order_on_nvdec([7, *range(7), 8]) == list(range(9))
    assert order_on_nvdec([8, *range(8)]) == list(range(9))
    assert order_on_nvdec([*range(1, 9), 0]) != list(range(9))


@pytest.mark.parametrize("name", [*MADE, *REMADE])
def test_a_cut_decodes_as_the_whole_does(made, name):
    path, plain, exact_seek = made[name]
    assert exact_seek == (name not in WHOLE)

    @settings(max_examples=5, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.integers(0, len(plain) - 1), min_size=1, max_size=6))
    def any_frames(frames):
        assert_exact(path, plain, np.array(frames), exact_seek=exact_seek)

    any_frames()
    assert_exact(path, plain, np.arange(len(plain))[::-1], exact_seek=exact_seek)
    clips = np.concatenate([3 + 2 * np.arange(8), len(plain) - 1 - 4 * np.arange(4)])
    assert_exact(path, plain, clips, exact_seek=exact_seek)


@pytest.mark.parametrize("name", RADL_FIRST)
def test_leading_pictures_at_the_start_stay_where_the_video_shows_them(made, name):
    """A file cut before a RADL keyframe begins with pictures that come before it in time and can be decoded."""
    path, plain, _ = made[name]
    with av.open(str(path)) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert np.argsort(times)[0] > 0, "the keyframe is not the first picture shown"
    short = cut_short(path, np.array([0, 1, 5]))
    assert short is not None
    np.testing.assert_array_equal(decoded(short)[short.frames], plain[[0, 1, 5]])


@needs_real_videos
@pytest.mark.parametrize("path", [p for p in real_videos() if p.suffix != ".mkv"], ids=lambda path: path.name)
def test_cuts_of_real_clips(path):
    facts = probe(path)
    assert facts.exact_seek
    rng = np.random.default_rng(0)
    starts = rng.integers(0, max(1, facts.num_frames - 64), 2)
    frames = np.concatenate([starts[0] + 8 * np.arange(8), starts[1] + 4 * np.arange(16)]) % facts.num_frames
    piece = cut(path, frames, exact_seek=True)
    np.testing.assert_array_equal(decoded(piece)[piece.frames], decode_frames(path, frames, exact_seek=False))


@pytest.mark.parametrize(
    ("name", "frames", "most"),
    [
        ("no_b.mp4", [39], 10),  # the last frame of a GOP of ten
        ("no_b.mp4", [35, 2], 3 + 6),  # the GOPs in between are left out
        ("temporal_direct.mp4", [8], 3),  # I . . . P . . . P: no B-picture
        ("temporal_direct.mp4", [9], 10),
        ("pyramid.mp4", [10, 30], 2),
        ("mpeg4_b.avi", [21], 1),
        ("packed_b.avi", [40], 21),  # every other picture of one long GOP is a B
        ("hevc.mp4", [30], 1),
        ("vp9.webm", [10], 1),
        ("edit_list.mp4", [39 - 6], 10),
    ],
)
def test_few_pictures_are_left(made, name, frames, most):
    path, plain, _ = made[name]
    frames = np.minimum(frames, len(plain) - 1)
    assert num_packets(cut(path, frames, exact_seek=True)) <= most


@pytest.mark.parametrize("name", ["pyramid.mp4", "hevc_sub_layers.mp4", "mpeg4_b.mp4"])
def test_dropping_leaves_less_and_nothing_that_was_asked_for(made, name):
    path, plain, _ = made[name]
    frames = np.arange(0, len(plain), 4)
    less, more = (num_packets(cut(path, frames, exact_seek=True, droppable=d)) for d in (True, False))
    assert len(frames) <= less < more <= len(plain)
    every = np.arange(len(plain))
    assert num_packets(cut(path, every, exact_seek=True)) == len(plain)


def test_a_picture_that_others_refer_to_would_be_missed(made, monkeypatch):
    """The comparison has teeth: leaving out any picture that was not asked for breaks the others."""
    path, plain, _ = made["no_b.mp4"]
    every_third = lambda self, data, ends: np.arange(len(ends)) % 3 == 1  # noqa: E731
    monkeypatch.setattr("pipelines.video.nal_units.NalFormat.unneeded", every_third)
    with pytest.raises((AssertionError, IndexError)):
        assert_exact(path, plain, np.array([9, 19]), exact_seek=True)


def test_bytes_are_cut_as_the_file_is(made):
    path, _, _ = made["pyramid.mp4"]
    of_file, of_bytes = cut(path, [3, 25, 3], exact_seek=True), cut(path.read_bytes(), [3, 25, 3], exact_seek=True)
    assert of_file.content == of_bytes.content
    assert of_file.frames.tolist() == of_bytes.frames.tolist()


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_the_whole_file_where_cuts_are_not_exact(made, name):
    path, _, _ = made[name]
    piece = cut(path, [30, 4], exact_seek=False)
    assert piece.content == path.read_bytes()
    assert piece.frames.tolist() == [30, 4]


def test_the_whole_file_where_time_stamps_do_not_lead_to_the_frames(made, tmp_path):
    path = remux(made["pyramid.mp4"][0], tmp_path / "bare.h264")
    assert cut(path, [30], exact_seek=True).content == path.read_bytes()


def test_too_few_frames(made):
    path, _, _ = made["pyramid.mp4"]
    with pytest.raises(VideoError, match="40 frames readable, asked for frame 40"):
        cut(path, [3, 40], exact_seek=True)


@pytest.mark.parametrize("frames", [[], [-1, 3], [[1, 2]]])
def test_refuses_impossible_requests(made, frames):
    with pytest.raises(InputError, match=r"frames: received .*; accepted: one or more indices from 0"):
        cut(made["pyramid.mp4"][0], frames, exact_seek=True)


@pytest.mark.parametrize("exact_seek", [True, False])
def test_missing_and_empty_files(tmp_path, exact_seek):
    with pytest.raises(VideoError, match="No such file"):
        cut(tmp_path / "absent.mp4", [0], exact_seek=exact_seek)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError, match="Invalid data|empty file"):
        cut(tmp_path / "empty.mp4", [0], exact_seek=exact_seek)


@pytest.mark.parametrize("name", ["pyramid.mp4", "hevc_open_gop.mp4", "packed_b.avi", "annex_b.ts"])
def test_corrupt_files_raise_nothing_but_video_errors(made, name):
    content = made[name][0].read_bytes()
    rng = np.random.default_rng(0)
    reasons = []
    for _ in range(30):
        changed = bytearray(content[: rng.integers(1, len(content))] if rng.random() < 0.3 else content)
        for at in rng.integers(0, len(changed), 20):
            changed[at] = rng.integers(256)
        try:
            assert cut(bytes(changed), [25, 3], exact_seek=True).content
        except VideoError as error:
            reasons.append(str(error))
    assert all(0 < len(reason) < 200 for reason in reasons)


@pytest.fixture(scope="module")
def intra(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("intra")
    transcode(make_video(folder / "a.mp4", num_frames=60), folder / "b.mp4", settings=Settings())
    return folder / "b.mp4"


def test_each_frame_of_an_intra_file_decoded_alone_equals_the_frame_in_sequence(intra):
    in_sequence = decode_plainly(intra)
    for k, picture in enumerate(in_sequence):
        np.testing.assert_array_equal(decode_frames(intra, [k], exact_seek=True)[0], picture)


@pytest.mark.parametrize("frames", [[7], [3, 11, 12, 40], [59, 0, 59, 31], list(range(0, 60, 4))])
def test_a_cut_of_an_intra_file_holds_no_packet_that_nobody_asked_for(intra, frames):
    made = cut(intra, frames, exact_seek=True)
    assert num_packets(made) == len(set(frames))
    np.testing.assert_array_equal(decoded(made)[made.frames], decode_plainly(intra)[frames])


def test_of_an_intra_file_little_more_is_read_than_the_frames(intra, monkeypatch):
    read = []

    def counted(mp4: Mp4, first: int, num_bytes: int) -> bytes:
        read.append(num_bytes)
        mp4.file.seek(first)
        return mp4.file.read(num_bytes)

    monkeypatch.setattr(Mp4, "read", counted)
    cut(intra, [5, 30, 55], exact_seek=True)
    assert len(read) == 3
