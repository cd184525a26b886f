"""Colors of decoded frames, against the equations of BT.601 on the coded values."""

import av
import numpy as np
import pytest

from pipelines.video.frames import decode_frames
from pipelines.views.make import View, make_views
from tests.support.videos import make_video

SIZE = 48


def bt601(yuv: np.ndarray, *, full_range: bool) -> np.ndarray:
    """(..., 3) Y, Cb, Cr of 0 to 255 -> (..., 3) RGB (ITU-R BT.601; JPEG's where the range is full)."""
    y, cb, cr = np.moveaxis(yuv.astype(float), -1, 0)
    if full_range:
        luma, scale = y, 1.0
    else:
        luma, scale = (y - 16) * 255 / 219, 255 / 224
    cb, cr = (cb - 128) * scale, (cr - 128) * scale
    rgb = np.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], axis=-1)
    return rgb.clip(0, 255)


@pytest.mark.parametrize("matrix", ["undef", "bt709", "smpte170m", "bt2020nc"])
@pytest.mark.parametrize("full_range", [False, True])
def test_every_file_is_shown_by_one_matrix(tmp_path, matrix, full_range):
    """As DALI shows what NVDEC decodes: the range counts, the matrix of the tag does not."""
    path = make_video(
        tmp_path / "a.mp4",
        num_frames=4,
        height=SIZE,
        width=SIZE,
        pixel_format="yuvj420p" if full_range else "yuv420p",
        codec_options={"x264-params": f"colormatrix={matrix}", "crf": "1"},
    )
    with av.open(str(path)) as container:
        planes = next(container.decode(video=0)).to_ndarray()  # (3 / 2 H, W): luma, then each chroma
    luma, chroma = planes[:SIZE], planes[SIZE:].reshape(2, SIZE // 2, SIZE // 2)
    blocks = luma.reshape(SIZE // 2, 2, SIZE // 2, 2).mean(axis=(1, 3))  # one chroma value for four of luma
    expected = bt601(np.stack([blocks, *chroma], axis=-1), full_range=full_range)
    got = decode_frames(path, [0], exact_seek=True)[0].astype(float)
    assert np.abs(got.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean(axis=(1, 3)) - expected).mean() < 4
    whole = View(frames=np.array([0]), box=(0, 0, SIZE, SIZE), size=SIZE)
    (view,) = make_views(path, [whole], exact_seek=True, picture_size=(SIZE, SIZE))
    assert np.abs(view[0].astype(float) - got).mean() < 1
