"""Optical flow as a third view, by the graph of a GPU and by a CPU's workers.

The GPU's optical-flow unit has a stand-in here; with a GPU it runs itself.
"""

import numpy as np
import pytest
import torch
from nvidia.dali import fn, pipeline_def, types

import pipelines.loading.operators
import pipelines.views.flow
from cmpl.config import with_settings
from cmpl.recipes.demo import demo
from pipelines.batch import SemiBatch
from pipelines.errors import InputError
from pipelines.loading.engine import Engine
from pipelines.plan.geometry import ClipShape, Geometry
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


def test_a_method_that_does_not_see_flow_is_named():
    with pytest.raises(InputError, match="--set method.flow: cmpl has no such field"):
        with_settings(demo(), {"method.flow": "true"})


def test_both_ways_give_movement_the_same_colors(monkeypatch):
    pixels = np.array([[0, 0], [1, -1], [-3.3, 7.77], [19.99, -19.99], [20, -20], [30, -30]], np.float32)
    T = len(pixels)
    vectors = np.zeros((2 * T - 1, 7, 7, 2), np.float32) - 9.0  # between the frames of different pairs, never shown
    vectors[::2] = pixels[:, None, None]
    monkeypatch.setattr(
        pipelines.loading.operators, "optical_flow", lambda clip: types.Constant(vectors, device="cpu", layout="FHWC")
    )

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def graph():
        clip = types.Constant(np.zeros((2 * T, 28, 28, 3), np.uint8), device="cpu", layout="FHWC")
        return pipelines.loading.operators.flow_view(clip, 28)

    pipeline = graph()
    pipeline.build()
    of_graph = pipeline.run()[0].as_array()[0]
    monkeypatch.setattr(pipelines.views.flow, "optical_flow", lambda pairs: vectors[::2].repeat(4, 1).repeat(4, 2))
    of_worker = pipelines.views.flow.flow_view(np.zeros((2 * T, 28, 28, 3), np.uint8))
    assert np.array_equal(of_graph, of_worker)
    assert of_worker[0, 0, 0].tolist() == [128, 128, 127]
    assert of_worker[5, 0, 0].tolist() == [255, 0, 127]


def batches(pool, *, engine: Engine, first_micro_step: int = 0, number: int = 2) -> list[SemiBatch]:
    with loader(pool, geometry=GEOMETRY, engine=engine, first_micro_step=first_micro_step) as made:
        return [next(made) for _ in range(number)]


def flows(batch: SemiBatch) -> list[torch.Tensor]:
    return [clips.flow for clips in (batch.labeled.standard, batch.unlabeled.weak, batch.unlabeled.strong)]


def test_without_a_gpu_flow_does_not_depend_on_who_computes_it_or_from_where_one_goes_on(pool):
    alone = batches(pool, engine=Engine())
    for flow in flows(alone[0]):
        assert flow.shape[1:] == (3, 4, 28, 28)
        assert flow.is_contiguous(memory_format=torch.channels_last_3d)
        assert flow[:, :2].float().std() > 1
    by_workers = batches(pool, engine=Engine(num_workers=2))
    gone_on = batches(pool, engine=Engine(), first_micro_step=1, number=1)
    for a, b in zip([*alone, alone[1]], [*by_workers, *gone_on], strict=True):
        assert all(torch.equal(x, y) for x, y in zip(flows(a), flows(b), strict=True))
    assert not torch.equal(flows(alone[0])[2], flows(alone[1])[2])
