"""gain.py: a sample from a file that decodes alone is made in less time."""

import numpy as np

from pipelines.loading.gain import sample_gain
from pipelines.video.encoding import Settings
from pipelines.video.transcode import transcode
from tests.support.videos import make_video


def test_the_gain_of_pictures_that_decode_alone(tmp_path):
    """From a GOP of 100 pictures three times as large on a side: far more than any disturbance hides."""
    path = make_video(tmp_path / "a.mp4", num_frames=100, height=288, width=384, gop=300, codec_options={"bf": "0"})
    transcode(path, tmp_path / "b.mp4", settings=Settings(short_side=96))
    assert sample_gain([(str(path), str(tmp_path / "b.mp4"))]) > 1
    assert np.isnan(sample_gain([]))
