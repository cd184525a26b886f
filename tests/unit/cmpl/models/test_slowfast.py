"""SlowFast: its published sizes, and its forward pass against one of plain conv3d calls."""

import pytest
import torch
import torch.nn.functional as F

from cmpl.build import network_of
from cmpl.config import NetworkConfig, with_settings
from cmpl.models.counting import count_multiply_adds, count_parameters
from cmpl.models.slowfast import SlowFast
from cmpl.recipes.demo import demo
from pipelines.errors import InputError


def test_published_sizes():
    """34.6 M parameters and 65.7 G multiply-adds at 256 x 256 for Kinetics-400 (SlowFast 8x8, R50)."""
    with torch.device("meta"):
        model = network_of(NetworkConfig(architecture="slowfast"), num_classes=400)
    assert count_parameters(model) / 1e6 == pytest.approx(34.6, abs=0.05)
    assert count_multiply_adds(model, num_frames=32, crop_size=256) / 1e9 == pytest.approx(65.7, abs=0.05)
    assert model.num_features == 2048 + 256


def random_network() -> SlowFast:
    """Small, in evaluation, with every number random: no scale of 1, no shift of 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SlowFast(num_classes=3, width=1 / 4).eval()
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if "bn" in name and value.dtype.is_floating_point:
                torch.nn.init.uniform_(value, 0.5, 1.5)
    return model


def plain_forward(weights: dict, clips: torch.Tensor) -> torch.Tensor:
    """The network of Table 1 of the SlowFast paper (alpha 4, beta 1/8, R50), written out on plain tensors."""

    def conv_bn(x, conv: str, bn: str, stride=(1, 1, 1)):
        weight = weights[f"{conv}.weight"]
        padding = tuple(size // 2 for size in weight.shape[2:])
        x = F.conv3d(x, weight, stride=stride, padding=padding)
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(weights[f"{bn}.{key}"] for key in keys))

    def stem(x, name: str):
        x = F.relu(conv_bn(x, f"{name}.conv", f"{name}.bn", (1, 2, 2)))
        return F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))

    def stage(x, name: str, number: int):
        for block in range((3, 4, 6, 3)[number]):
            stride = (1, 2, 2) if number > 0 and block == 0 else (1, 1, 1)
            at = f"{name}.{number}.{block}"
            y = F.relu(conv_bn(x, f"{at}.conv1", f"{at}.bn1"))
            y = F.relu(conv_bn(y, f"{at}.conv2", f"{at}.bn2", stride))
            y = conv_bn(y, f"{at}.conv3", f"{at}.bn3")
            if f"{at}.shortcut.conv.weight" in weights:
                x = conv_bn(x, f"{at}.shortcut.conv", f"{at}.shortcut.bn", stride)
            x = F.relu(x + y)
        return x

    slow, fast = stem(clips[:, :, [0, 4]], "slow_stem"), stem(clips, "fast_stem")
    for number in range(4):
        lateral = F.relu(conv_bn(fast, f"fusions.{number}.conv", f"fusions.{number}.bn", (4, 1, 1)))
        slow = stage(torch.cat([slow, lateral], dim=1), "slow_stages", number)
        fast = stage(fast, "fast_stages", number)
    features = torch.cat([slow.mean(dim=(2, 3, 4)), fast.mean(dim=(2, 3, 4))], dim=1)
    return F.linear(features, weights["head.weight"], weights["head.bias"])


def test_the_forward_pass_is_that_of_plain_convolutions():
    model = random_network()
    clips = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = plain_forward(model.state_dict(), clips)
        got = model(clips.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    assert expected.std() > 0


def test_only_the_fast_pathway_sees_the_frames_between():
    model = random_network()
    clips = torch.randn(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))
    other = clips.clone()
    other[:, :, 2] += 1
    with torch.no_grad():
        slow = [model.slow_stem(c[:, :, ::4]) for c in (clips, other)]
        logits = [model(c.contiguous(memory_format=torch.channels_last_3d)) for c in (clips, other)]
    assert torch.equal(*slow)
    assert not torch.equal(*logits)


def test_every_parameter_learns():
    model = SlowFast(num_classes=3, width=1 / 8, zero_init_residual=False)
    clips = torch.randn(2, 3, 4, 32, 32).contiguous(memory_format=torch.channels_last_3d)
    model(clips).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_blocks_start_as_their_shortcuts():
    model = SlowFast(num_classes=3, width=1 / 8)
    assert all((block.bn3.weight == 0).all() for stage in model.slow_stages for block in stage)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"width: received 0.1; accepted by slowfast: a multiple of 0.125"):
        SlowFast(num_classes=3, width=0.1)
    with pytest.raises(InputError, match=r"^primary.depth: received 18; accepted by slowfast: 50"):
        network_of(NetworkConfig(architecture="slowfast", depth=18), num_classes=3)
    with pytest.raises(InputError, match=r"auxiliary.architecture: received 'slowfats'; did you mean 'slowfast'"):
        with_settings(demo(), {"auxiliary.architecture": "slowfats"})
