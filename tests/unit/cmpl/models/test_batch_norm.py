"""BatchNorm with statistics of parts of a batch, against parts that go through the network one by one."""

import copy

import pytest
import torch
from torch import nn

from cmpl.config import NetworkConfig
from cmpl.methods.views import forward_views
from cmpl.models.batch_norm import BatchNorm3d, statistics_apart, takes_parts
from cmpl.registries import BACKBONES
from tests.support.layouts import outputs_not_channels_last

CHANNELS_LAST = torch.channels_last_3d


def network_of(architecture: str) -> nn.Module:
    config = NetworkConfig(architecture=architecture, depth=50 if architecture != "resnet3d" else 10, width=1 / 8)
    torch.manual_seed(0)
    return BACKBONES.get(architecture, field="architecture")(config, num_classes=5)


def clips_of(num_clips: int, *, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (num_clips, 3, 8, 32, 32), generator=generator)
    return values.to(dtype, memory_format=CHANNELS_LAST)


def without_dropout(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


@pytest.mark.parametrize("architecture", ["resnet3d", "slowfast", "tsm"])
def test_parts_have_the_numbers_that_they_have_alone(architecture):
    network = without_dropout(network_of(architecture)).train().double()
    assert takes_parts(network)
    alone = copy.deepcopy(network)
    parts = [clips_of(number, seed=number, dtype=torch.float64) / 255 for number in (2, 3)]
    with statistics_apart([2, 3]):
        together = network(torch.cat(parts))
    expected = torch.cat([alone(part) for part in parts])
    torch.testing.assert_close(together, expected)
    for (name, value), other in zip(network.named_buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(value, other, msg=name)
    together.square().sum().backward()
    expected.square().sum().backward()
    for (name, value), other in zip(network.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(value.grad, other.grad, rtol=1e-5, atol=1e-8, msg=name)


def test_activations_of_parts_stay_channels_last():
    with statistics_apart([1, 4]):
        assert outputs_not_channels_last(network_of("resnet3d").train(), clips_of(5, seed=0)) == []


def test_without_parts_and_in_evaluation_it_is_torchs():
    own, torchs = BatchNorm3d(3), nn.BatchNorm3d(3)
    clips = clips_of(5, seed=0)
    torch.testing.assert_close(own(clips), torchs(clips), rtol=0, atol=0)
    with statistics_apart([2, 3]):
        assert not torch.allclose(own(clips), torchs(clips))
        torch.testing.assert_close(own.eval()(clips).shape, clips.shape)
        assert own.num_batches_tracked == 3
    torch.testing.assert_close(copy.deepcopy(torchs).eval()(clips), torchs.eval()(clips))


def test_a_network_of_others_batch_norm_goes_part_by_part():
    assert not takes_parts(nn.Sequential(nn.BatchNorm3d(3), BatchNorm3d(3)))
    assert not takes_parts(nn.Sequential(nn.Flatten()))
    assert not takes_parts(lambda clips: clips)
    compiled = nn.Sequential(BatchNorm3d(3))
    assert takes_parts(compiled)
    compiled.compile()
    assert not takes_parts(compiled)


def test_separate_views_are_the_same_in_one_forward_and_in_two(monkeypatch):
    network = without_dropout(network_of("resnet3d")).train()
    views = [clips_of(number, seed=number, dtype=torch.uint8) for number in (2, 4, 3)]
    calls: list[int] = []
    network.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    in_two = copy.deepcopy(network)
    together = forward_views(network, *views, batch_norm="separate")
    assert calls == [4, 5]
    calls.clear()
    monkeypatch.setattr("cmpl.methods.views.takes_parts", lambda network: False)
    apart = forward_views(in_two, *views, batch_norm="separate")
    assert calls == [4, 2, 3]
    for name in ("labeled", "weak", "strong"):
        torch.testing.assert_close(getattr(together, name), getattr(apart, name), rtol=1e-4, atol=1e-5)
