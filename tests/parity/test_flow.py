"""Optical flow as a third view. The GPU's optical-flow unit has a stand-in here; with a GPU it runs itself."""

import numpy as np
import pytest
import torch
from nvidia.dali import fn, types

import pipelines.loading.operators
from cmpl import build
from cmpl.config import with_settings
from cmpl.recipes.demo import demo
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import settle
from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.plan.geometry import ClipShape, Geometry
from tests.support.nvdec import needs_gpu
from tests.support.views import loader

PAIRS = ClipShape(8, 16, pairs=True)
SEEN = {"primary": ClipShape(4, 16), "auxiliary": PAIRS, "crop_size": 28, "short_side": 32}
GEOMETRY = Geometry(**SEEN, short_side_jitter=(32, 40), flow=True)


def brightness_change(clip):
    """A movement that one can compute: right by the change of red, down by that of green, on a grid of 4."""
    change = fn.cast(clip[1:], dtype=types.FLOAT) - fn.cast(clip[:-1], dtype=types.FLOAT)
    return fn.resize(change[:, :, :, 0:2] * 0.1, size=[7, 7], interp_type=types.INTERP_NN, antialias=False)


def test_flow_is_that_of_each_pair(pool, monkeypatch):
    monkeypatch.setattr(pipelines.loading.operators, "optical_flow", brightness_change)
    batch = next(loader(pool, geometry=GEOMETRY, engine=Engine(media="frames")))
    for clips in (batch.labeled.standard, batch.unlabeled.weak, batch.unlabeled.strong):
        pairs, flow = clips.auxiliary.float(), clips.flow
        assert flow.shape == (len(clips), 3, 4, 28, 28)
        assert flow.dtype == torch.uint8
        assert flow.is_contiguous(memory_format=torch.channels_last_3d)
        assert (flow[:, 2] == 127).all()
        change = (pairs[:, :2, 1::2] - pairs[:, :2, 0::2]) * 0.1
        expected = (change * 127 / 20 + 127.5).clamp(0, 255)
        # where a grid point's pixel is hit: the middle of every cell of 4 x 4
        np.testing.assert_allclose(
            flow[:, :2].float().mean(dim=(3, 4)), expected[..., 2::4, 2::4].mean(dim=(3, 4)), atol=4
        )
    assert batch.unlabeled.weak.flow.float()[:, :2].std() > 1


def test_without_flow_there_are_two_views(pool):
    geometry = Geometry(**SEEN, short_side_jitter=(32, 40))
    assert next(loader(pool, geometry=geometry)).unlabeled.weak.flow is None


def test_flow_wants_pairs():
    with pytest.raises(InputError, match="flow: received an auxiliary clip 8x8; accepted: one of pairs"):
        Geometry(auxiliary=ClipShape(8, 8), flow=True)
    with pytest.raises(InputError, match=r"clip: received 7x8 pairs; accepted: an even number"):
        ClipShape(7, 8, pairs=True)


def test_the_first_frame_has_itself_before_it():
    assert PAIRS.frames(0, num_video_frames=100).tolist() == [0, 0, 15, 16, 31, 32, 47, 48]
    assert PAIRS.frames(0, num_video_frames=20).tolist() == [0, 0, 15, 16, 11, 12, 7, 8]
    still = PAIRS.frames(0, num_video_frames=20, short_videos="repeat-last")
    assert still.tolist() == [0, 0, 15, 16, 18, 19, 18, 19]


def test_a_method_that_does_not_see_flow_and_a_machine_that_has_none_are_named():
    with pytest.raises(InputError, match="--set method.flow: cmpl has no such field"):
        with_settings(demo(), {"method.flow": "true"})
    config = with_settings(demo(), {"method.name": "mvpl", "method.flow": "true", "runtime.device": "cpu"})
    with pytest.raises(InputError, match="method.flow: received true, but the device is cpu; accepted: false, or an N"):
        build.loader_of(config, (None, None), runtime=settle(config.runtime), ranks=Ranks(), first_micro_step=0)


@needs_gpu
def test_the_optical_flow_unit_sees_a_picture_move(pool):
    geometry = Geometry(primary=ClipShape(2, 8), auxiliary=ClipShape(4, 8, pairs=True), flow=True)
    batch = next(loader(pool, geometry=geometry, engine=Engine(media="frames", device_index=0)))
    assert batch.unlabeled.weak.flow.is_cuda
    assert batch.unlabeled.weak.flow.shape == (6, 3, 2, 224, 224)
    assert batch.unlabeled.weak.flow[:, :2].float().std() > 1
