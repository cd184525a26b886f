"""Gradients of convolutions by products, against those of double precision."""

import pytest
import torch
import torch.nn.functional as F

from cmpl.models import convolution as convolutions
from cmpl.models import gradients
from cmpl.models.convolution import Convolution

# channels, kernel, spatial stride, (B, T, H, W) of the clips
CASES = [
    (8, (3, 1, 1), 1, (3, 4, 6, 5)),
    (8, (5, 1, 1), 1, (2, 3, 2, 2)),
    (8, (5, 1, 1), 1, (2, 2, 3, 3)),
    (8, (3, 3, 3), 1, (3, 4, 6, 5)),
    (8, (3, 3, 3), 2, (2, 4, 7, 6)),
    (8, (3, 3, 3), 2, (2, 4, 2, 2)),
    (8, (1, 3, 3), 1, (3, 2, 2, 2)),
    (64, (1, 3, 3), 2, (2, 2, 9, 8)),
    (8, (3, 5, 5), 2, (2, 4, 12, 12)),
]


def clips_of(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype, memory_format=torch.channels_last_3d)


@pytest.fixture(params=[1 << 19, 1], ids=["at once", "clip by clip"])
def gathered(request, monkeypatch):
    monkeypatch.setattr(gradients, "_GATHERED_ELEMENTS", request.param)


@pytest.mark.parametrize(("channels", "kernel", "stride", "shape"), CASES)
def test_products_equal_double_precision(channels, kernel, stride, shape, gathered, monkeypatch):
    calls = []
    monkeypatch.setattr(convolutions, "Products", counted(calls))
    layer = Convolution(channels, 12, kernel=kernel, spatial_stride=stride)
    clips = clips_of(shape[0], channels, *shape[1:]).requires_grad_()
    output = layer(clips)
    given = clips_of(*output.shape)
    output.backward(given)
    exact_clips = clips.detach().double().requires_grad_()
    exact_weight = layer.weight.detach().double().requires_grad_()
    padding = tuple(size // 2 for size in kernel)
    F.conv3d(exact_clips, exact_weight, None, (1, stride, stride), padding).backward(given.double())
    assert len(calls) == 1
    torch.testing.assert_close(clips.grad.double(), exact_clips.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.weight.grad.double(), exact_weight.grad, rtol=1e-4, atol=1e-3)
    assert layer.weight.grad.stride() == layer.weight.stride()


def counted(calls: list) -> type:
    """Products that note the kernel of each call."""

    class Counted:
        @staticmethod
        def apply(clips, weight, forward, stride, padding):
            calls.append(tuple(weight.shape[2:]))
            return gradients.Products.apply(clips, weight, forward, stride, padding)

    return Counted


@pytest.mark.parametrize("frozen", ["clips", "weight"])
@pytest.mark.parametrize("kernel", [(3, 1, 1), (3, 3, 3)])
def test_a_gradient_that_nobody_asks_for_is_not_made(kernel, frozen):
    layer = Convolution(8, 8, kernel=kernel)
    clips = clips_of(2, 8, 4, 3, 3).requires_grad_()
    {"clips": clips, "weight": layer.weight}[frozen].requires_grad_(False)
    layer(clips).sum().backward()
    assert (clips.grad is None) == (frozen == "clips")
    assert (layer.weight.grad is None) == (frozen == "weight")


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "expected"),
    [
        ((2, 8, 4, 6, 6), (3, 1, 1), 1, True),
        ((2, 8, 4, 6, 6), (3, 3, 3), 2, True),
        ((2, 8, 4, 6, 6), (1, 3, 3), 1, False),
        ((2, 8, 4, 4, 4), (1, 3, 3), 2, True),
        ((2, 64, 4, 8, 8), (1, 3, 3), 1, True),
        ((2, 64, 4, 9, 8), (1, 3, 3), 1, False),
        ((2, 3, 4, 24, 24), (3, 5, 5), 2, False),
        ((2, 64, 4, 1, 1), (1, 1, 1), 1, False),
    ],
)
def test_products_are_made_where_they_were_measured_to_be_faster(shape, kernel, stride, expected):
    assert gradients.pays(torch.empty(shape), kernel=kernel, stride=stride) is expected


def test_products_are_for_float32_on_a_cpu():
    arguments = {"kernel": (3, 1, 1), "stride": 1}
    assert not gradients.pays(torch.empty(2, 8, 4, 6, 6, dtype=torch.float64), **arguments)
    assert not gradients.pays(torch.empty(2, 8, 4, 6, 6, device="meta"), **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not gradients.pays(torch.empty(2, 8, 4, 6, 6), **arguments)
