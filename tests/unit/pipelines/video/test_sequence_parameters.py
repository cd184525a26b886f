"""Sizes and crops of SPS, against FFmpeg, and cuts that show whole pictures, against the whole file."""

import io

import av
import numpy as np
import pytest

from pipelines.video import sequence_parameters
from pipelines.video.cut import cut
from pipelines.video.mp4 import open_mp4
from pipelines.video.sequence_parameters import for_nvdec, picture_size
from tests.support.videos import decode_plainly, make_video

FILES = {
    "h264 340x256": {"width": 340, "height": 256},
    "h264 320x180": {"width": 320, "height": 180},
    "h264 baseline": {"width": 322, "height": 182, "codec_options": {"profile": "baseline"}},
    "h264 interlaced": {"width": 320, "height": 180, "codec_options": {"x264-params": "interlaced=1"}},
    "h264 scaling lists": {"width": 340, "height": 180, "codec_options": {"x264-params": "cqm=jvt"}},
    "h264 4:4:4": {"width": 341, "height": 181, "pixel_format": "yuv444p"},
    "h264 not cropped": {"width": 320, "height": 256},
    "h264 keyframes": {"width": 340, "height": 180, "gop": 1},
    "h264 keyframes, not cropped": {"width": 320, "height": 256, "gop": 1},
    "hevc 340x180": {"width": 340, "height": 180, "codec": "libx265"},
}
CODED = {
    "h264 340x256": (352, 256), "h264 320x180": (320, 192), "h264 baseline": (336, 192),
    "h264 interlaced": (320, 192), "h264 scaling lists": (352, 192), "h264 4:4:4": (352, 192),
    "h264 not cropped": (320, 256), "h264 keyframes": (352, 192), "h264 keyframes, not cropped": (320, 256),
    "hevc 340x180": (344, 184),
}  # fmt: skip


@pytest.fixture(params=FILES, scope="module")
def coded(request, tmp_path_factory):
    """(name, path, SPS, codec) of a file."""
    given = dict(FILES[request.param])
    path = make_video(tmp_path_factory.mktemp("sps") / "a.mp4", num_frames=12, **{"gop": 6} | given)
    codec = "hevc" if "codec" in given else "h264"
    with open_mp4(path) as mp4:
        (_, units) = sequence_parameters._configuration(mp4.description, codec)
    (sps,) = (unit for unit in units if (unit[0] & 31 == 7 if codec == "h264" else unit[0] >> 1 & 63 == 33))
    return request.param, path, sps, codec


def test_the_coded_and_the_shown_size_are_read(coded):
    name, _, sps, codec = coded
    size = picture_size(sps, codec=codec)
    assert size.coded == CODED[name]
    assert size.shown == (FILES[name]["width"], FILES[name]["height"])
    assert (size.left, size.top) == (0, 0)


def test_without_its_crop_and_with_a_reference_an_sps_says_the_same_otherwise(coded):
    """Files of keyframes alone allow no reference, and DALI's decoder has too few surfaces for them then."""
    name, _, sps, codec = coded
    bare = for_nvdec(sps, codec=codec)
    size = picture_size(bare, codec=codec)
    assert size.coded == size.shown == CODED[name]
    assert (picture_size(sps, codec=codec).references_bits is not None) == ("keyframes" in name)
    assert size.references_bits is None
    assert for_nvdec(bare, codec=codec) == bare
    for text in (b"\0\0\0", b"\0\0\1", b"\0\0\2"):
        assert text not in bare, "it would look like a start code"
    if name == "h264 not cropped":
        assert bare == sps, "nothing else is touched"
    if name == "h264 keyframes, not cropped":
        assert len(bare) - len(sps) in (0, 1), "two bits more"


def test_a_cut_of_whole_pictures_begins_with_the_video_s_own_pixels(coded):
    """FFmpeg decodes it to the same frames; what it adds are rows below."""
    name, path, _, _ = coded
    width, height = FILES[name]["width"], FILES[name]["height"]
    frames = np.array([7, 2, 9])
    made = cut(path, frames, exact_seek=True, for_nvdec=True)
    with open_mp4(made.content) as mp4:
        assert mp4.description[42:44] == CODED[name][1].to_bytes(2, "big")
        assert mp4.description[40:42] == width.to_bytes(2, "big")
    whole = decode_plainly(path)
    with av.open(io.BytesIO(made.content)) as container:
        got = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert got.shape[1:3] == (CODED[name][1], width) or got.shape[1:3] == CODED[name][::-1]
    np.testing.assert_array_equal(got[made.frames][:, : height - 2, : width - 2], whole[frames][:, :-2, :-2])


def test_what_an_sps_cannot_say_is_left_alone(coded, tmp_path):
    _, path, sps, codec = coded
    with open_mp4(path) as mp4:
        description = mp4.description
    assert sequence_parameters.described_for_nvdec(description[: len(description) // 2], codec=codec) is None
    damaged = description.replace(sps, sps[:4] + bytes(len(sps) - 4))
    assert sequence_parameters.described_for_nvdec(damaged, codec=codec) is None
    with pytest.raises((ValueError, IndexError)):
        picture_size(sps[:6], codec=codec)
    assert av.open(str(path)).streams.video[0].width == picture_size(sps, codec=codec).shown[0]
