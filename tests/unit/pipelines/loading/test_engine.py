"""An engine checks itself; what a sample carries is typed."""

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.loading.sample import CutMedia, Frames, Ids, Media, MixedMedia, Sample, decode_problems
from pipelines.loading.setup import engine_on, place_in_group


def test_media_are_taken_by_name_and_a_typo_is_named():
    assert Engine(media="frames").media is Media.FRAMES
    with pytest.raises(InputError, match="media: received 'frame'; did you mean 'frames'"):
        Engine(media="frame")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"media": "cuts"}, "media: received 'cuts' without a GPU"),
        ({"media": "mixed"}, "media: received 'mixed' without a GPU"),
        ({"media": "views", "device_index": 0}, "media: received 'views' with a GPU"),
        ({"decoder": "nvdec"}, "decoder: received 'nvdec'"),
        ({"num_workers": -1}, "num_workers: received -1; accepted: 0 or more"),
        ({"num_threads": 0}, "num_threads: received 0; accepted: 1 or more"),
        ({"prefetch_batches": 0}, "prefetch_batches: received 0; accepted: 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(settings, match):
    with pytest.raises(InputError, match=match):
        Engine(**settings)


def test_cuts_without_a_gpu_take_the_software_decoder():
    assert Engine(media="cuts", decoder="cpu").media.has_cuts


def test_layouts_are_those_of_the_arrays():
    frames = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    assert len(MixedMedia.of_frames(Frames.of(frames))) == len(Media.MIXED.layouts) == 5
    assert Media.MIXED.layouts[MixedMedia._fields.index("frames")] == "FHWC"
    with pytest.raises(ValueError, match="as many layouts as the source has views"):
        _ = Media.VIEWS.layouts


def test_a_sample_travels_as_arrays():
    problems = (("a.mp4", "truncated"), ("b.mp4", "empty file"))
    ids = Ids(number=70, video=3, label=2)
    *media, rows, numbers, note = Sample((np.zeros(3),), np.ones(2), ids, problems).as_arrays()
    assert len(media) == 1
    assert rows.tolist() == [1, 1]
    assert Ids(*numbers.tolist()) == ids
    assert decode_problems(note) == problems
    assert len(Sample((np.zeros(3),), None, ids).as_arrays()) == 3, "finished views need no parameters"


def test_devices_are_named():
    assert engine_on("cpu", workers=3).num_workers == 3
    with pytest.raises(InputError, match="device: received 'gpu'; accepted: auto, cpu, cuda, cuda:N"):
        engine_on("gpu", workers=None)
    with pytest.raises(InputError, match="device: received 'cuda:99', but torch sees no such GPU"):
        engine_on("cuda:99", workers=None)


def test_the_place_is_torchrun_s_where_none_is_given(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert place_in_group(None, None)[:2] == (3, 4)
    assert place_in_group(0, 1)[:2] == (0, 1)
    with pytest.raises(InputError, match="rank: received 2 of 2; accepted: 0 to 1"):
        place_in_group(2, 2)


def test_the_decoder_is_asked_for_each_frame_once_in_ascending_order():
    asked = np.array([40, 8, 8, 0, 40, 16], dtype=np.int32)
    media = CutMedia.of(b"content", asked)
    assert media.indices.tolist() == [0, 8, 16, 40]
    assert media.indices[media.order].tolist() == asked.tolist()
    assert media.content.tobytes() == b"content"
