"""A convolution's own gradients, each way, against those of double precision."""

import pytest
import torch
import torch.nn.functional as F

from cmpl.models import convolution as convolutions
from cmpl.models import gradients
from cmpl.models.convolution import Convolution
from cmpl.models.gradients import Way

# channels, kernel, spatial stride, (B, T, H, W) of the clips, the way to their gradients
CASES = [
    (8, (3, 1, 1), 1, (3, 4, 6, 5), Way.IN_TIME),
    (8, (5, 1, 1), 1, (2, 3, 2, 2), Way.IN_TIME),
    (8, (5, 1, 1), 1, (2, 2, 3, 3), Way.IN_TIME),
    (8, (3, 1, 1), 1, (1, 3, 4, 4), Way.IN_TIME),
    (8, (1, 3, 3), 1, (3, 2, 1, 1), Way.IN_TIME),
    (8, (3, 3, 3), 1, (3, 4, 6, 5), Way.IN_IMAGES),
    (8, (3, 3, 3), 2, (2, 4, 7, 6), Way.IN_IMAGES),
    (3, (3, 5, 5), 2, (2, 4, 12, 11), Way.IN_IMAGES),
    (3, (5, 5, 5), 2, (2, 2, 12, 11), Way.IN_IMAGES),
    (32, (1, 3, 3), 2, (2, 2, 9, 8), Way.IN_IMAGES),
    (8, (3, 3, 3), 2, (2, 4, 2, 2), Way.GATHERED),
    (8, (3, 3, 3), 2, (2, 4, 1, 1), Way.GATHERED),
    (8, (1, 3, 3), 1, (3, 2, 2, 2), Way.GATHERED),
    (64, (1, 3, 3), 2, (2, 2, 9, 8), Way.GATHERED),
    (8, (3, 5, 5), 2, (2, 4, 6, 6), Way.GATHERED),
]


def clips_of(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype, memory_format=torch.channels_last_3d)


@pytest.fixture(autouse=True)
def measured_cpu(monkeypatch):
    """The kind of CPU that the ways are for, wherever this runs."""
    monkeypatch.setattr(gradients, "cpu_capability", lambda: gradients.MEASURED_CAPABILITY)


@pytest.fixture(params=[1 << 19, 1], ids=["at once", "clip by clip"])
def gathered(request, monkeypatch):
    monkeypatch.setattr(gradients, "_GATHERED_ELEMENTS", request.param)


@pytest.fixture
def ways(monkeypatch):
    """The ways that convolutions take, in order."""
    taken = []

    class Noted:
        @staticmethod
        def apply(clips, weight, forward, shape, way):
            taken.append(way)
            return gradients.OwnGradients.apply(clips, weight, forward, shape, way)

    monkeypatch.setattr(convolutions, "OwnGradients", Noted)
    return taken


@pytest.mark.parametrize(("channels", "kernel", "stride", "shape", "way"), CASES)
def test_each_way_equals_double_precision(channels, kernel, stride, shape, way, gathered, ways):
    layer = Convolution(channels, 12, kernel=kernel, spatial_stride=stride)
    clips = clips_of(shape[0], channels, *shape[1:]).requires_grad_()
    output = layer(clips)
    given = clips_of(*output.shape)
    output.backward(given)
    exact_clips = clips.detach().double().requires_grad_()
    exact_weight = layer.weight.detach().double().requires_grad_()
    padding = tuple(size // 2 for size in kernel)
    exact = F.conv3d(exact_clips, exact_weight, None, (1, stride, stride), padding)
    exact.backward(given.double())
    assert ways == [way]
    torch.testing.assert_close(output.double(), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(clips.grad.double(), exact_clips.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.weight.grad.double(), exact_weight.grad, rtol=1e-4, atol=1e-3)
    assert layer.weight.grad.stride() == layer.weight.stride()


@pytest.mark.parametrize("frozen", ["clips", "weight"])
@pytest.mark.parametrize(
    ("kernel", "side", "way"),
    [((3, 1, 1), 3, Way.IN_TIME), ((3, 3, 3), 3, Way.GATHERED), ((3, 3, 3), 4, Way.IN_IMAGES)],
)
def test_a_gradient_that_nobody_asks_for_is_not_made(kernel, side, way, frozen, ways):
    layer = Convolution(8, 8, kernel=kernel)
    clips = clips_of(2, 8, 4, side, side).requires_grad_()
    {"clips": clips, "weight": layer.weight}[frozen].requires_grad_(False)
    layer(clips).sum().backward()
    assert ways == [way]
    assert (clips.grad is None) == (frozen == "clips")
    assert (layer.weight.grad is None) == (frozen == "weight")


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "num_outputs", "expected"),
    [
        ((2, 8, 4, 6, 6), (3, 1, 1), 1, 8, Way.IN_TIME),
        ((2, 64, 4, 1, 1), (1, 1, 1), 1, 64, Way.IN_TIME),
        ((2, 8, 4, 6, 6), (3, 3, 3), 2, 8, Way.GATHERED),
        ((2, 8, 4, 7, 7), (3, 3, 3), 2, 8, Way.IN_IMAGES),
        ((2, 8, 4, 6, 6), (1, 3, 3), 1, 8, None),
        ((2, 8, 4, 4, 4), (1, 3, 3), 2, 8, Way.GATHERED),
        ((2, 32, 4, 4, 4), (1, 3, 3), 1, 32, Way.IN_IMAGES),
        ((2, 64, 4, 8, 8), (1, 3, 3), 1, 64, Way.GATHERED),
        ((2, 64, 4, 9, 8), (1, 3, 3), 1, 64, Way.IN_IMAGES),
        ((2, 3, 4, 24, 24), (3, 5, 5), 2, 16, Way.IN_IMAGES),
        ((2, 3, 4, 24, 24), (3, 5, 5), 2, 64, None),
        ((2, 3, 4, 24, 24), (1, 5, 5), 2, 16, None),
        ((2, 3, 4, 24, 24), (3, 1, 1), 1, 16, None),
    ],
)
def test_a_way_is_taken_where_it_was_measured_to_be_faster(shape, kernel, stride, num_outputs, expected):
    way = gradients.way_of(torch.empty(shape), kernel=kernel, stride=stride, num_outputs=num_outputs)
    assert way is expected


def test_own_gradients_are_for_float32_on_a_cpu_that_was_measured(monkeypatch):
    def way_of(clips):
        return gradients.way_of(clips, kernel=(3, 1, 1), stride=1, num_outputs=8)

    assert way_of(torch.empty(2, 8, 4, 6, 6)) is Way.IN_TIME
    assert way_of(torch.empty(2, 8, 4, 6, 6, dtype=torch.float64)) is None
    assert way_of(torch.empty(2, 8, 4, 6, 6, device="meta")) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert way_of(torch.empty(2, 8, 4, 6, 6)) is None
    monkeypatch.setattr(gradients, "cpu_capability", lambda: "AVX512")
    assert way_of(torch.empty(2, 8, 4, 6, 6)) is None
