"""Views made by a worker: every kind of picture, and what goes wrong."""

import av
import numpy as np
import pytest

from pipelines.errors import VideoError
from pipelines.video.frames import decode_frames
from pipelines.video.probe import probe
from pipelines.views.make import Scaler, View, make_views, planes_of
from tests.support import reference
from tests.support.videos import decode_plainly, make_video, needs_real_videos, real_videos

FRAMES = np.array([3, 9, 9, 0])


def views_of_file(path, views, *, exact_seek=True):
    facts = probe(path)
    return make_views(
        path, views, exact_seek=exact_seek and facts.exact_seek, picture_size=(facts.stored_width, facts.stored_height)
    )


@pytest.mark.parametrize("width", [64, 66, 70, 76, 90])
@pytest.mark.parametrize("exact_seek", [True, False])
def test_a_box_of_the_views_own_size_is_copied(tmp_path, width, exact_seek):
    """Any width, whose last columns FFmpeg's scaler once left out; mirrored where left > right."""
    path = make_video(tmp_path / "v.mp4", num_frames=12, width=width)
    whole = decode_plainly(path)
    plain = View(frames=FRAMES, box=(5, width - 40, 45, width), size=40)
    mirrored = View(frames=FRAMES[:2], box=(5, width, 45, width - 40), size=40)
    a, b = views_of_file(path, [plain, mirrored], exact_seek=exact_seek)
    np.testing.assert_array_equal(a, whole[FRAMES, 5:45, width - 40 : width])
    np.testing.assert_array_equal(b, whole[FRAMES[:2], 5:45, width - 40 : width][:, :, ::-1])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuvj420p", "yuv420p10le", "gray"])
def test_every_pixel_format_gives_the_colors_of_plain_decoding(tmp_path, pixel_format):
    path = make_video(tmp_path / "v.mp4", num_frames=12, pixel_format=pixel_format)
    (view,) = views_of_file(path, [View(frames=FRAMES, box=(0, 0, 48, 48), size=48)])
    np.testing.assert_array_equal(view, decode_frames(path, FRAMES, exact_seek=True)[:, :, :48])


@pytest.mark.parametrize("box", [(0, 0, 48, 48), (7, 3, 41, 37), (20, 11, 21, 12)])
@pytest.mark.parametrize("size", [17, 28, 60])
def test_scaling_up_and_down_equals_the_twin(tmp_path, box, size):
    path = make_video(tmp_path / "v.mp4", num_frames=12)
    top, left, bottom, right = box
    (view,) = views_of_file(path, [View(frames=FRAMES, box=box, size=size)])
    cropped = decode_plainly(path)[FRAMES, top:bottom, left:right]
    expected = reference.crop_resize(cropped, (0, 0, bottom - top, right - left), size)
    difference = np.abs(view.astype(int) - expected)
    assert difference.mean() <= 0.35
    assert difference[:, 1:-1, 1:-1].max() <= (2 if bottom - top < 2 * size else 6)  # small weights are left out


@needs_real_videos
@pytest.mark.parametrize("path", real_videos(), ids=lambda p: p.name)
def test_real_clips_in_their_own_colors(path):
    facts = probe(path)
    frames = np.array([facts.num_frames - 1, facts.num_frames // 2])
    side = min(facts.stored_width, facts.stored_height)
    (view,) = views_of_file(path, [View(frames=frames, box=(0, 0, side, side), size=side)])
    np.testing.assert_array_equal(view, decode_frames(path, frames, exact_seek=False)[:, :side, :side])


def test_a_file_that_was_exchanged_is_named_as_such(tmp_path):
    path = make_video(tmp_path / "v.mp4", num_frames=12)
    with pytest.raises(VideoError, match=r"frames are 64x48 pixels, the manifest says 32x48: the file changed"):
        make_views(path, [View(frames=FRAMES, box=(0, 0, 8, 8), size=8)], exact_seek=True, picture_size=(32, 48))


def test_a_missing_frame_is_an_error(tmp_path):
    path = make_video(tmp_path / "v.mp4", num_frames=12)
    view = View(frames=np.array([2, 12]), box=(0, 0, 8, 8), size=8)
    with pytest.raises(VideoError, match="12 frames readable, asked for frame 12"):
        make_views(path, [view], exact_seek=True, picture_size=(64, 48))


def test_a_scaler_can_be_aimed_anew():
    """Whatever it was aimed at before."""
    rng = np.random.default_rng(0)
    picture = av.VideoFrame.from_ndarray(rng.integers(0, 255, (3, 48, 64), dtype=np.uint8), format="yuv444p")
    kept = Scaler(64, 48, 28)
    for _ in range(40):
        side = int(rng.integers(1, 49))
        top, left = int(rng.integers(0, 49 - side)), int(rng.integers(0, 65 - side))
        fresh = Scaler(64, 48, 28)
        for scaler in (kept, fresh):
            scaler.aim((top, left, top + side, left + side))
        a, b = (np.stack(planes_of(scaler(picture))) for scaler in (kept, fresh))
        np.testing.assert_array_equal(a, b)
