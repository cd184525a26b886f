"""encoding.py and transcode.py: the forms of prepared files, and that a file is what was encoded."""

import dataclasses
import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import InputError, VideoError
from pipelines.video import transcode as transcode_module
from pipelines.video.cut import cut
from pipelines.video.encoding import Form, Settings
from pipelines.video.probe import probe
from pipelines.video.transcode import target_sides, transcode
from tests.support.videos import decode_plainly, make_video, pictures


def types_of(path: Path) -> str:
    with av.open(str(path)) as container:
        return "".join(av.video.frame.PictureType(frame.pict_type).name for frame in container.decode(video=0))


@pytest.mark.parametrize(
    ("field", "given", "accepted"),
    [("short_side", 8, "16 pixels"), ("gop", 0, "1 frame or more"), ("crf", 52, "0 .lossless. to 51")],
)
def test_refuses_impossible_settings(field, given, accepted):
    with pytest.raises(InputError, match=f"{field}: received {given}; accepted: {accepted}"):
        Settings(**{"form": "gop", field: given})


def test_a_form_refuses_keyframes_that_are_not_its_own():
    with pytest.raises(InputError, match="gop: received 10; accepted: a multiple of 4"):
        Settings(form="aligned", gop=10)
    with pytest.raises(InputError, match="gop: received 16; accepted: 1 in files of form intra, or another form"):
        Settings(gop=16)
    with pytest.raises(InputError, match="form: received 'mjpeg'; accepted: intra, aligned, gop"):
        Settings(form="mjpeg")


def test_every_picture_of_an_intra_file_is_a_keyframe(tmp_path):
    path = make_video(tmp_path / "a.mp4", num_frames=40, gop=250)
    transcode(path, tmp_path / "b.mp4", settings=Settings())
    assert types_of(tmp_path / "b.mp4") == 40 * "I"
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert all(frame.key_frame for frame in container.decode(video=0))


@pytest.mark.parametrize(("form", "filtered"), [("intra", False), ("aligned", False), ("gop", True)])
def test_forms_differ_in_what_a_decoder_has_to_do(tmp_path, form, filtered):
    """x264 writes its settings into a file."""
    path = make_video(tmp_path / "a.mp4", num_frames=8)
    transcode(path, tmp_path / "b.mp4", settings=Settings(form=form))
    said = (tmp_path / "b.mp4").read_bytes()
    assert (b"cabac=1" in said, b"deblock=1" in said) == (filtered, filtered)


def test_short_closed_gops_without_b_pictures(tmp_path):
    path = make_video(tmp_path / "a.mp4", num_frames=40, gop=250)
    transcode(path, tmp_path / "b.mp4", settings=Settings(form=Form.GOP, gop=16))
    assert types_of(tmp_path / "b.mp4") == "I" + 15 * "P" + "I" + 15 * "P" + "I" + 7 * "P"


def test_aligned_clips_need_no_b_picture(tmp_path):
    path = make_video(tmp_path / "a.mp4", num_frames=50, gop=250)
    made = transcode(path, tmp_path / "b.mp4", settings=Settings(form=Form.ALIGNED, gop=16))
    types = types_of(tmp_path / "b.mp4")
    assert set(types[::4]) <= {"I", "P"}
    assert types.count("B") >= 50 // 2
    frames = np.arange(0, 50, 4)
    piece = cut(tmp_path / "b.mp4", frames, exact_seek=True)
    with av.open(io.BytesIO(piece.content)) as container:
        kept = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(np.stack(kept)[piece.frames], decode_plainly(tmp_path / "b.mp4")[frames])
    assert len(kept) <= made.num_frames - types.count("B")


def test_pictures_stay_what_they_are(tmp_path):
    """Without scaling: the middle of each picture, nearly."""
    path = make_video(tmp_path / "a.mp4", num_frames=12, height=70, width=90, codec_options={"crf": "1"})
    made = transcode(path, tmp_path / "b.mp4", settings=Settings(crf=1))
    assert (made.width, made.height) == (80, 64)
    before, after = decode_plainly(path)[:, 2:66, 4:84].astype(int), decode_plainly(tmp_path / "b.mp4").astype(int)
    assert np.abs(before - after).mean() < 4
    assert made.psnr_db > 40


def test_the_psnr_is_that_of_the_luma(tmp_path):
    path = make_video(tmp_path / "a.mp4", num_frames=8)
    made = transcode(path, tmp_path / "b.mp4", settings=Settings(crf=35))

    def luma(file):
        with av.open(str(file)) as container:
            return np.stack([frame.to_ndarray()[:48] for frame in container.decode(video=0)]).astype(float)

    expected = 10 * np.log10(255**2 / np.mean((luma(path) - luma(tmp_path / "b.mp4")) ** 2))
    assert made.psnr_db == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_turned_videos_are_turned_upright(tmp_path, degrees):
    """As a telephone writes them: pictures on their side, and a matrix that says so."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        stream.set_display_rotation(degrees)
        for picture in pictures(4, height=32, width=64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    transcode(path, tmp_path / "b.mp4", settings=Settings(crf=1))
    with av.open(str(path)) as container:
        turns = round(next(container.decode(video=0)).rotation / 90)
    assert turns % 4 == degrees // 90 % 4
    expected = np.rot90(decode_plainly(path), turns, axes=(1, 2)).astype(int)
    upright = decode_plainly(tmp_path / "b.mp4").astype(int)
    assert upright.shape == expected.shape
    assert np.abs(upright - expected).mean() < 5
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize(
    "options",
    [
        {"pixel_format": "yuv444p", "width": 58},
        {"pixel_format": "yuv420p10le"},
        {"codec": "mjpeg", "pixel_format": "yuvj420p"},
        {"codec": "libvpx-vp9"},
        {"fps": 60},
    ],
    ids=str,
)
def test_formats(tmp_path, options):
    path = make_video(tmp_path / "a.mkv", num_frames=10, **options)
    transcode(path, tmp_path / "b.mp4", settings=Settings(crf=1))
    facts = probe(tmp_path / "b.mp4")
    assert (facts.num_frames, facts.pixel_format) == (10, "yuv420p")
    assert facts.fps == pytest.approx(options.get("fps", 25), rel=1e-3)
    before, after = decode_plainly(path).astype(int), decode_plainly(tmp_path / "b.mp4").astype(int)
    left = (before.shape[2] - after.shape[2]) // 2
    colored = "444" in options.get("pixel_format", "")  # half of whose color is lost
    assert np.abs(before[:, :, left : left + after.shape[2]] - after).mean() < (7 if colored else 5)


def test_an_output_that_is_not_what_was_encoded_is_refused(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4", num_frames=10)
    plain, gops = {"bf": "0", "sc_threshold": "0"}, Settings(form=Form.GOP)
    made = transcode_module._encode(path, tmp_path / "c.mp4", facts=probe(path), settings=gops, sampled={})
    claimed = dataclasses.replace(made, num_frames=12)
    monkeypatch.setattr(transcode_module, "_encode", lambda *args, **more: claimed)
    make_video(tmp_path / "b.mp4", num_frames=10, gop=16, codec_options=plain)
    with pytest.raises(VideoError, match="verification: the new file has 10 frames, not 12"):
        transcode(path, tmp_path / "b.mp4", settings=gops)
    make_video(tmp_path / "b.mp4", num_frames=10, gop=5, codec_options=plain)
    with pytest.raises(VideoError, match="verification: frame 5 of the new file is not as it was encoded"):
        transcode(path, tmp_path / "b.mp4", settings=gops)


@given(st.integers(16, 5000), st.integers(16, 5000), st.integers(16, 600))
def test_sides_are_multiples_of_16_and_never_grow(width, height, short_side):
    try:
        scaled, cropped = target_sides(width, height, short_side=short_side)
    except VideoError:
        assert min(width, height) < 16
        return
    assert all(side % 16 == 0 and side > 0 for side in cropped)
    assert all(0 <= before - after < 16 for before, after in zip(scaled, cropped, strict=True))
    assert min(scaled) == min(short_side, width, height)
    assert scaled[0] / width == pytest.approx(scaled[1] / height, abs=1 / min(width, height))
