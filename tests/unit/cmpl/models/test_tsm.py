"""TSM: the sizes of the 2D networks it is made of, its forward pass written out frame by frame, and its start."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from cmpl.build import network_of
from cmpl.config import NetworkConfig
from cmpl.methods.supervised import Supervised
from cmpl.models.convolution import CONVOLUTIONS
from cmpl.models.counting import count_multiply_adds, count_parameters
from cmpl.models.tsm import TSM, shifted
from cmpl.training.initialize import initialize
from pipelines.errors import InputError
from tests.support.tiny import image_network

Weights = dict[str, Tensor]


@pytest.mark.parametrize(
    ("depth", "parameters", "kinetics", "gmac"), [(18, 11_689_512, "11.38", 1.81), (50, 25_557_032, "24.33", 4.09)]
)
def test_sizes_are_those_of_the_2d_networks(depth, parameters, kinetics, gmac):
    """torchvision gives its ResNets' parameters with 1000 classes and multiply-adds of one image; Lin et al. give
    24.3 M and 33 G for 8 frames of TSM-R50."""
    with torch.device("meta"):
        imagenet = network_of(NetworkConfig(architecture="tsm", depth=depth), num_classes=1000)
        network = network_of(NetworkConfig(architecture="tsm", depth=depth), num_classes=400)
    assert count_parameters(imagenet) == parameters
    assert f"{count_parameters(network) / 1e6:.2f}" == kinetics
    assert count_multiply_adds(imagenet, num_frames=1, crop_size=224) / 1e9 == pytest.approx(gmac, abs=0.01)
    assert count_multiply_adds(network, num_frames=8, crop_size=224) / 8e9 == pytest.approx(gmac, abs=0.01)


def test_the_shift_by_hand():
    """Channel c of frame t is 10 c + t + 1. Of 16 channels two come from the next frame and two from the last one."""
    clips = (10 * torch.arange(16.0)[:, None] + torch.arange(3.0) + 1)[None, :, :, None, None]
    clips = clips.contiguous(memory_format=torch.channels_last_3d)
    output = shifted(clips)
    assert output[0, :5, :, 0, 0].tolist() == [
        [2, 3, 0],
        [12, 13, 0],
        [0, 21, 22],
        [0, 31, 32],
        [41, 42, 43],
    ]
    assert torch.equal(output[:, 4:], clips[:, 4:])
    assert output.is_contiguous(memory_format=torch.channels_last_3d)
    assert shifted(clips[:, :, :1])[0, :5, 0, 0, 0].tolist() == [0, 0, 0, 0, 41]  # one frame has no neighbor


def random_network(depth: int, **options) -> TSM:
    """Small, in evaluation, with every number random: no scale of 1, no shift of 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TSM(depth=depth, num_classes=3, width=1 / 4, **options).eval()
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if "bn" in name and value.dtype.is_floating_point:
                nn.init.uniform_(value, 0.5, 1.5)
        nn.init.normal_(model.head.weight)
        nn.init.normal_(model.head.bias)
    return model


def conv_bn(x: Tensor, weights: Weights, conv: str, bn: str, stride: int = 1) -> Tensor:
    weight = weights[f"{conv}.weight"].squeeze(2)
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    return F.batch_norm(x, *(weights[f"{bn}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")))


def plain_shift(frames: list[Tensor]) -> list[Tensor]:
    """Frames (B, C, H, W), channel by channel."""
    output = []
    for t, frame in enumerate(frames):
        frame, eighth = frame.clone(), frame.shape[1] // 8
        for c in range(2 * eighth):
            neighbor = t + 1 if c < eighth else t - 1
            frame[:, c] = frames[neighbor][:, c] if 0 <= neighbor < len(frames) else 0
        output.append(frame)
    return output


def plain_forward(weights: Weights, clips: Tensor, *, depth: int) -> Tensor:
    """TSM on single frames with 2D convolutions; the mean of the frames' logits."""
    frames = [conv_bn(clips[:, :, t], weights, "stem.conv", "stem.bn", 2) for t in range(clips.shape[2])]
    frames = [F.max_pool2d(F.relu(frame), 3, 2, 1) for frame in frames]
    for stage, num_blocks in enumerate({18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]):
        for number in range(num_blocks):
            at, stride = f"stages.{stage}.{number}", 2 if stage > 0 and number == 0 else 1
            frames = [
                block(own, moved, weights, at, stride=stride, depth=depth)
                for own, moved in zip(frames, plain_shift(frames), strict=True)
            ]
    logits = [F.linear(x.mean(dim=(2, 3)), weights["head.weight"], weights["head.bias"]) for x in frames]
    return torch.stack(logits).mean(dim=0)


def block(own: Tensor, moved: Tensor, weights: Weights, at: str, *, stride: int, depth: int) -> Tensor:
    strides = (stride, 1) if depth == 18 else (1, stride, 1)
    x = moved
    for index, step in enumerate(strides, start=1):
        x = conv_bn(x, weights, f"{at}.conv{index}", f"{at}.bn{index}", step)
        x = F.relu(x) if index < len(strides) else x
    if f"{at}.shortcut.conv.weight" in weights:
        own = conv_bn(own, weights, f"{at}.shortcut.conv", f"{at}.shortcut.bn", stride)
    return F.relu(own + x)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_the_forward_pass_is_that_of_shifted_frames(depth, convolution):
    model = random_network(depth, convolution=convolution)
    clips = torch.randn(2, 3, 5, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = plain_forward(model.state_dict(), clips, depth=depth)
        got = model(clips.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    assert expected.std() > 0


def test_every_parameter_learns():
    model = TSM(num_classes=3, width=1 / 8, zero_init_residual=False)
    clips = torch.randn(2, 3, 4, 32, 32).contiguous(memory_format=torch.channels_last_3d)
    model(clips).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("depth", [18, 50])
def test_it_starts_from_a_2d_network(depth, tmp_path):
    """On a still picture the shift changes nothing but at the clip's ends: one frame further in with each block. The
    middle one of enough frames is what the 2D network makes of the picture."""
    image = image_network(depth)
    save_file(image.state_dict(), tmp_path / "image.safetensors")
    method = Supervised(primary=TSM(depth=depth, num_classes=3)).eval()
    said = initialize(method, str(tmp_path / "image.safetensors"))
    assert said.kept.keys() == {"primary.head.weight", "primary.head.bias"}
    picture = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    num_frames = 2 * {18: 8, 50: 16}[depth] + 1
    clip = picture.unsqueeze(2).repeat(1, 1, num_frames, 1, 1).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        x = nn.functional.max_pool2d(image.bn1(image.conv1(picture)).relu(), 3, 2, 1)
        y = method.primary.stem(clip)
        for stage in range(4):
            x, y = getattr(image, f"layer{stage + 1}")(x), method.primary.stages[stage](y)
    assert x.std() > 0.1
    torch.testing.assert_close(y[:, :, num_frames // 2], x, rtol=1e-3, atol=1e-4 * x.abs().max().item())
    assert not torch.allclose(y[:, :, 0], x, rtol=1e-2)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"width: received 0.0625; accepted by tsm: a multiple of 0.125"):
        TSM(num_classes=3, width=1 / 16)
    with pytest.raises(InputError, match=r"^primary.depth: received 34; accepted: 10, 18, 50"):
        network_of(NetworkConfig(architecture="tsm", depth=34), num_classes=3)


@pytest.mark.parametrize("depth", [10, 50])
def test_activations_stay_channels_last_and_gradients_have_their_parameters_strides(depth):
    model, copied = TSM(depth=depth, num_classes=3, width=1 / 8), []

    def check(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.dim() == 5 and not output.is_contiguous(memory_format=torch.channels_last_3d):
            copied.append(module)

    for module in model.modules():
        module.register_forward_hook(check)
    model(torch.randn(2, 3, 4, 32, 32).contiguous(memory_format=torch.channels_last_3d)).sum().backward()
    assert copied == []
    assert all(p.grad is not None and p.grad.stride() == p.stride() for p in model.parameters())


@pytest.mark.slow
def test_it_compiles_into_one_graph():
    net = random_network(10)
    clips = torch.randn(1, 3, 3, 16, 16).contiguous(memory_format=torch.channels_last_3d)
    torch.compiler.reset()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(clips), net(clips))
    torch.compiler.reset()
