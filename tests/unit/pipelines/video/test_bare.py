"""Packets decoded without a container, against the same ones in a file of their own."""

import numpy as np
import pytest

from pipelines.errors import VideoError
from pipelines.video import bare, frames
from pipelines.video.cut import Cut, Piece, needed
from pipelines.video.frames import DecodingNotes, decode_each, images_of
from tests.support.videos import make_video, with_gaps

KINDS = {
    "b_frames.mp4": {"codec_options": {"bf": "3"}},
    "no_b_frames.mp4": {"codec_options": {"bf": "0"}},
    "keyframes.mp4": {"codec_options": {"g": "1"}},
    "hevc.mp4": {"codec": "libx265", "codec_options": {"x265-params": "log-level=none:bframes=3:keyint=10"}},
    "ten_bit.mp4": {"pixel_format": "yuv420p10le"},
    "full_range.mp4": {"pixel_format": "yuvj420p"},
}
COLORS = {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709", "color_range": "tv"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name, options in KINDS.items():
        make_video(folder / name, **options)
    return folder


def decoded(path, wanted) -> tuple[np.ndarray | None, str, int]:
    """The pictures, or why there are none, and how many frames were damaged."""
    notes = DecodingNotes()
    try:
        images = images_of(decode_each(path, wanted, exact_seek=True, notes=notes), num_frames=len(wanted))
    except VideoError as error:
        return None, str(error), notes.num_damaged
    return images, "", notes.num_damaged


def assert_as_by_a_container(path, wanted, monkeypatch) -> tuple[str, int]:
    images, reason, num_damaged = decoded(path, wanted)
    with monkeypatch.context() as patch:
        patch.setattr(bare, "can_decode", lambda piece: False)
        expected = decoded(path, wanted)
    assert (reason, num_damaged) == expected[1:]
    np.testing.assert_array_equal(images, expected[0])
    return reason, num_damaged


def without_containers(patch) -> None:
    def never(*arguments, **options):
        raise AssertionError("a container was opened")

    patch.setattr(frames, "decode_from_start", never)


@pytest.mark.parametrize("name", KINDS)
def test_pictures_are_those_by_a_container(made, name, monkeypatch):
    rng = np.random.default_rng(0)
    for _ in range(5):
        wanted = np.unique(rng.integers(0, 40, 6))
        assert assert_as_by_a_container(made / name, wanted, monkeypatch) == ("", 0)
        with monkeypatch.context() as patch:
            without_containers(patch)
            assert decoded(made / name, wanted)[0] is not None


def test_damage_is_noted_as_by_a_container(tmp_path, monkeypatch):
    path = with_gaps(make_video(tmp_path / "v.mp4", width=160, height=120, codec_options={"bf": "0"}), frame=10)
    _, num_damaged = assert_as_by_a_container(path, np.array([10, 13]), monkeypatch)
    assert num_damaged > 0


@pytest.mark.parametrize("seed", range(6))
def test_what_no_decoder_likes_ends_as_by_a_container(made, tmp_path, seed, monkeypatch):
    rng, path = np.random.default_rng(seed), tmp_path / "v.mp4"
    data = np.frombuffer((made / "b_frames.mp4").read_bytes(), dtype=np.uint8).copy()
    first = bytes(data).find(b"mdat") + 4
    begin = int(rng.integers(first, first + 3000))
    data[begin : begin + 800] = rng.integers(0, 256, 800, dtype=np.uint8)
    path.write_bytes(data.tobytes())
    for _ in range(4):
        assert_as_by_a_container(path, np.unique(rng.integers(0, 40, 5)), monkeypatch)


def test_frames_that_do_not_come_are_asked_of_a_container(made, monkeypatch):
    def breaks_off(piece):
        for number, frame in enumerate(of_all(piece)):
            if number == 2:
                raise OSError("broken off")
            yield frame

    of_all = bare.frames_of
    monkeypatch.setattr(bare, "frames_of", breaks_off)
    assert assert_as_by_a_container(made / "keyframes.mp4", np.array([0, 3, 7, 9, 30]), monkeypatch) == ("", 0)


def test_colors_that_the_file_says_itself_are_left_to_a_container(tmp_path, monkeypatch):
    path = make_video(tmp_path / "v.mp4", codec_options=COLORS)
    piece = needed(path, np.array([3]))
    assert isinstance(piece, Piece)
    assert piece.mp4.says_colors
    assert not bare.can_decode(piece)
    with monkeypatch.context() as patch:
        without_containers(patch)
        with pytest.raises(AssertionError, match="a container was opened"):
            decoded(path, np.array([3]))
    assert_as_by_a_container(path, np.array([3]), monkeypatch)


def test_other_containers_are_cut_as_files(tmp_path):
    path = make_video(tmp_path / "v.mkv")
    assert isinstance(needed(path, np.array([3])), Cut)
