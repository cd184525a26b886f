"""Damaged files through probing, decoding, cutting and preparing: frames or a VideoError, and never more."""

import numpy as np
import pytest

from pipelines.errors import VideoError
from pipelines.video.cut import cut
from pipelines.video.frames import decode_frames
from pipelines.video.probe import probe
from pipelines.video.transcode import Settings, transcode
from tests.support.mutations import mutated_bytes
from tests.support.videos import decode_plainly, make_video

KINDS = {
    "h264.mp4": {"codec_options": {"x264-params": "bframes=2:scenecut=0"}},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"codec": "libx265", "codec_options": {"x265-params": "log-level=none"}},
    "mpeg4.avi": {"codec": "mpeg4", "codec_options": {"bf": "2"}},
    "h264.mkv": {},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "h264.ts": {},
}
NUM_MUTATIONS = 6


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_gives_frames_or_a_video_error(tmp_path, name):
    """Where it can be read, a cut decodes to the same pictures, and the prepared file has each frame once."""
    content = make_video(tmp_path / f"plain_{name}", num_frames=20, **KINDS[name]).read_bytes()
    rng = np.random.default_rng(0)
    reasons = []
    for _ in range(NUM_MUTATIONS):
        path, prepared = tmp_path / name, tmp_path / "prepared.mp4"
        path.write_bytes(mutated_bytes(content, rng))
        try:
            facts = probe(path)
            picks = rng.integers(facts.num_frames, size=4)
            frames = decode_frames(path, picks, exact_seek=facts.exact_seek)
            piece = cut(path, picks, exact_seek=facts.exact_seek)
            np.testing.assert_array_equal(decode_frames(piece.content, piece.frames, exact_seek=False), frames)
            made = transcode(path, prepared, settings=Settings())
            assert made.num_frames == facts.num_frames == len(decode_plainly(prepared))
        except VideoError as error:
            reasons.append(str(error))
    assert all(0 < len(reason) < 300 for reason in reasons)
    assert len(reasons) < NUM_MUTATIONS, "some can be read"
