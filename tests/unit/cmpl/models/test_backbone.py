"""What methods ask of a network is checked once, and any network can be given it."""

import pytest
import torch
from torch import nn

from cmpl.methods.rotation import S4L
from cmpl.models.backbone import AdaptedBackbone, checked_backbone
from cmpl.models.resnet3d import ResNet3D
from cmpl.models.slowfast import SlowFast
from cmpl.models.tsm import TSM
from pipelines.errors import InputError
from tests.support.tiny import Trunk, batch


class Pool(nn.Module):
    """Three features: the mean color of each frame's pixels, over time or not."""

    def __init__(self, *, over_time: bool) -> None:
        super().__init__()
        self.over_time = over_time

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.mean(dim=(2, 3, 4)) if self.over_time else clips[..., ::2, ::2]


@pytest.mark.parametrize("over_time", [True, False])
def test_an_adapted_network_is_a_backbone(over_time):
    network = AdaptedBackbone(Pool(over_time=over_time), num_features=3, num_classes=5, dropout=0.0)
    assert checked_backbone(network, num_classes=5, field="x") is network
    clips = torch.randn(2, 3, 4, 6, 6)
    assert network.features(clips).shape == (2, 3)
    torch.testing.assert_close(network(clips), network.head(network.features(clips)))
    assert torch.isfinite(S4L(primary=network)(batch(), unlabeled_weight=1.0)[0])


def test_features_of_another_length_are_named():
    network = AdaptedBackbone(Pool(over_time=True), num_features=4, num_classes=5)
    with pytest.raises(InputError, match=r"backbone: received features \(2, 3\) of 2 clips; accepted: \(2, 4\)"):
        network(torch.zeros(2, 3, 4, 6, 6))


@pytest.mark.parametrize(
    "network",
    [
        ResNet3D(depth=10, width=1 / 16, num_classes=4),
        SlowFast(width=1 / 8, num_classes=4),
        TSM(depth=10, width=1 / 8, num_classes=4),
        Trunk(),
    ],
)
def test_those_built_in_fit(network):
    assert checked_backbone(network, num_classes=4, field="x") is network


def without(name: str) -> nn.Module:
    network = Trunk()
    if name in ("head", "dropout"):
        delattr(network, name)
    else:
        network.__class__ = type("Bare", (Trunk,), {name: None})
    return network


@pytest.mark.parametrize("name", ["num_features", "features", "dropout", "head"])
def test_a_missing_member_is_named(name):
    with pytest.raises(InputError, match=rf"x: received \w+ without {name}; accepted: a network with num_features"):
        checked_backbone(without(name), num_classes=4, field="x")


def test_a_head_of_other_sizes_is_named():
    with pytest.raises(InputError, match=r"x: received a head whose logits are \(1, 4\); accepted: a head from 6 feat"):
        checked_backbone(Trunk(), num_classes=7, field="x")
    network = Trunk()
    network.head = nn.Linear(9, 4)
    with pytest.raises(InputError, match="x: received a head that fails .*; accepted: a head from 6 features to 4"):
        checked_backbone(network, num_classes=4, field="x")
    with pytest.raises(InputError, match="x: received function from the builder; accepted: a torch.nn.Module"):
        checked_backbone(test_those_built_in_fit, num_classes=4, field="x")
