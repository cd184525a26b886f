"""Networks: Table A4's sizes, the forms of a convolution, layouts, what wraps a network in training."""

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cmpl.models import convolution as convolutions
from cmpl.models.convolution import Convolution
from cmpl.models.counting import count_multiply_adds, count_parameters
from cmpl.models.resnet3d import ResNet3D
from pipelines.errors import InputError
from tests.support.layouts import outputs_not_channels_last

CHANNELS_LAST = torch.channels_last_3d

# depth, width: GMAC at 8 and 16 frames, millions of parameters for 400 and 101 classes
SIZES = {
    (50, 1): ("51.48", "102.95", "33.02", "32.41"),
    (50, 1 / 2): ("14.05", "28.10", "8.49", "8.18"),
    (50, 1 / 4): ("4.10", "8.20", "2.24", "2.08"),
    (50, 1 / 8): ("1.32", "2.64", "0.62", "0.54"),
    (18, 1): ("30.31", "60.62", "20.86", "20.70"),
    (10, 1): ("15.51", "31.02", "8.32", "8.17"),
}

# kernel, spatial stride
KERNELS = [((1, 3, 3), 1), ((1, 3, 3), 2), ((3, 1, 1), 1), ((1, 1, 1), 1), ((1, 1, 1), 2), ((3, 3, 3), 2)]


def clips_of(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(memory_format=CHANNELS_LAST)


def small_net(**changes) -> ResNet3D:
    torch.manual_seed(0)
    return ResNet3D(**{"depth": 10, "width": 1 / 8, "num_classes": 5, "stem_kernel": (3, 5, 5), **changes})


@pytest.mark.parametrize(("depth", "width"), SIZES)
def test_sizes_are_those_counted_from_table_a4(depth, width):
    gmac_8, gmac_16, millions_400, millions_101 = SIZES[depth, width]
    with torch.device("meta"):
        kinetics = ResNet3D(depth=depth, width=width, num_classes=400)
        ucf = ResNet3D(depth=depth, width=width, num_classes=101)
    assert f"{count_parameters(kinetics) / 1e6:.2f}" == millions_400
    assert f"{count_parameters(ucf) / 1e6:.2f}" == millions_101
    assert f"{count_multiply_adds(kinetics, num_frames=8, crop_size=224) / 1e9:.2f}" == gmac_8
    assert f"{count_multiply_adds(kinetics, num_frames=16, crop_size=224) / 1e9:.2f}" == gmac_16


def test_stages_have_the_output_sizes_of_table_a4():
    with torch.device("meta"):
        net = ResNet3D(num_classes=400)
        clips = net.stem(torch.empty(1, 3, 8, 224, 224))
        sizes = [tuple(clips.shape[1:])]
        for stage in net.stages:
            clips = stage(clips)
            sizes.append(tuple(clips.shape[1:]))
    assert sizes == [(64, 8, 56, 56), (256, 8, 56, 56), (512, 8, 28, 28), (1024, 8, 14, 14), (2048, 8, 7, 7)]
    assert net.num_features == 2048


def test_counting_knows_a_layer_counted_by_hand_and_leaves_the_model_alone():
    model = nn.Sequential(
        nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)),
        nn.BatchNorm3d(4),
        nn.Flatten(),
        nn.Linear(4 * 2 * 25, 7),
    )
    before = copy.deepcopy(model.state_dict())
    macs = count_multiply_adds(model, num_frames=2, crop_size=5)
    assert macs == (2 * 5 * 5) * 4 * (3 * 9) + 200 * 7
    assert count_parameters(model) == (4 * 27 + 4) + 8 + (200 * 7 + 7)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("convolution", convolutions.CONVOLUTIONS)
@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
@pytest.mark.parametrize(
    "shape", [(2, 6, 3, 5, 7), (1, 6, 1, 5, 5), (17, 6, 4, 1, 1), (2, 6, 4, 2, 2), (3, 6, 2, 1, 2)]
)
def test_every_form_equals_a_double_precision_conv3d(kernel, stride, shape, convolution):
    layer = Convolution(6, 8, kernel=kernel, spatial_stride=stride, convolution=convolution)
    clips = clips_of(*shape).requires_grad_()
    output = layer(clips)
    gradient = clips_of(*output.shape, seed=1)
    output.backward(gradient)

    slow_clips = clips.detach().double().contiguous().requires_grad_()
    slow_weight = layer.weight.detach().double().contiguous().requires_grad_()
    expected = F.conv3d(slow_clips, slow_weight, stride=layer.stride, padding=layer.padding)
    expected.backward(gradient.double())

    torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(clips.grad.double(), slow_clips.grad, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.weight.grad.double(), slow_weight.grad, rtol=1e-5, atol=2e-5)
    assert output.is_contiguous(memory_format=CHANNELS_LAST)


@pytest.mark.parametrize(
    ("kernel", "stride", "size", "kept"),
    [
        ((1, 3, 3), 1, (4, 1, 1), (1, 1, 1)),
        ((3, 3, 3), 2, (4, 2, 2), (3, 2, 2)),
        ((3, 3, 3), 1, (4, 2, 2), (3, 3, 3)),
        ((3, 3, 3), 2, (4, 3, 3), (3, 3, 3)),
        ((5, 7, 7), 2, (1, 2, 9), (1, 2, 7)),
    ],
)
def test_a_kernel_is_cut_to_the_taps_that_meet_a_pixel(kernel, stride, size, kept, monkeypatch):
    seen = []

    def spy(layer, clips, weight, **arguments):
        seen.append(tuple(weight.shape[2:]))
        return convolved(layer, clips, weight, **arguments)

    convolved = Convolution._convolved
    monkeypatch.setattr(Convolution, "_convolved", spy)
    Convolution(4, 4, kernel=kernel, spatial_stride=stride)(clips_of(2, 4, *size))
    assert seen == [kept]


@pytest.mark.parametrize(
    ("kernel", "kind", "auto"),
    [((1, 3, 3), "spatial", "conv3d"), ((3, 1, 1), "temporal", "2d"), ((1, 1, 1), "pointwise", "matmul")],
)
def test_form_follows_the_choice_the_kernel_and_the_device(kernel, kind, auto):
    layers = {name: Convolution(4, 4, kernel=kernel, convolution=name) for name in convolutions.CONVOLUTIONS}
    clips = clips_of(2, 4, 3, 5, 5)
    assert layers["auto"].kind == kind
    assert {name: layer.form(clips) for name, layer in layers.items()} == {
        "auto": auto,
        "conv3d": "conv3d",
        "2d": "2d",
    }
    assert Convolution(4, 4, kernel=(3, 3, 3), convolution="2d").form(clips) == "conv3d"


@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
def test_2d_views_share_the_memory_of_the_clips(kernel, stride, monkeypatch):
    clips = clips_of(2, 4, 3, 6, 6)
    seen = []

    def spy(images, *arguments):
        seen.append(images.data_ptr())
        return conv2d(images, *arguments)

    conv2d = F.conv2d
    monkeypatch.setattr(convolutions.F, "conv2d", spy)
    Convolution(4, 4, kernel=kernel, spatial_stride=stride, convolution="2d")(clips)
    assert seen == ([] if kernel == (3, 3, 3) else [clips.data_ptr()])


@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
@pytest.mark.parametrize("convolution", ["2d", "auto"])
def test_clips_in_another_layout_run_as_conv3d(kernel, stride, convolution):
    layer = Convolution(4, 4, kernel=kernel, spatial_stride=stride, convolution=convolution)
    clips = clips_of(2, 4, 6, 6, 6)
    for other in (clips.contiguous(), clips.repeat_interleave(2, dim=2)[:, :, ::2]):
        assert layer.form(other) == "conv3d"
        torch.testing.assert_close(layer(other), layer(clips), rtol=1e-5, atol=1e-5)


def test_the_log_says_once_that_conv3d_was_taken_instead(caplog):
    convolutions._say_once.cache_clear()
    layer = Convolution(4, 4, kernel=(3, 1, 1), convolution="2d")
    with caplog.at_level(logging.WARNING, logger="cmpl.models.resnet3d"):
        for _ in range(3):
            layer(torch.randn(2, 4, 3, 5, 5))
    assert [record.message for record in caplog.records] == [
        "a convolution got clips that are not channels_last_3d and runs as conv3d"
    ]


@pytest.mark.parametrize("depth", [10, 50])
@pytest.mark.parametrize("convolution", convolutions.CONVOLUTIONS)
@pytest.mark.parametrize("num_clips", [1, 3])
def test_activations_stay_channels_last(depth, convolution, num_clips):
    net = small_net(depth=depth, convolution=convolution)
    assert outputs_not_channels_last(net, clips_of(num_clips, 3, 4, 28, 28)) == []


@pytest.mark.parametrize("depth", [10, 50])
@pytest.mark.parametrize("convolution", convolutions.CONVOLUTIONS)
def test_gradients_have_the_strides_of_their_parameters(depth, convolution):
    # DDP's buckets copy and warn otherwise.
    net = small_net(depth=depth, convolution=convolution)
    net(clips_of(2, 3, 4, 28, 28)).sum().backward()
    assert all(weight.grad.stride() == weight.stride() for weight in net.parameters())


@pytest.mark.parametrize("depth", [10, 18, 50])
def test_networks_of_both_forms_agree_and_share_checkpoints(depth):
    nets = {name: small_net(depth=depth, convolution=name, dropout=0.0) for name in ("conv3d", "2d")}
    for module in nets["conv3d"].modules():  # blocks that do more than their shortcuts
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    nets["2d"].load_state_dict(nets["conv3d"].state_dict())
    logits = {name: net(clips_of(4, 3, 4, 28, 28)) for name, net in nets.items()}
    torch.testing.assert_close(logits["2d"], logits["conv3d"], rtol=1e-3, atol=1e-4)


def test_stem_equals_the_order_of_table_a4_with_gradients():
    stem = small_net().stem
    clips = clips_of(2, 3, 4, 29, 28)
    expected = F.max_pool3d(F.relu(stem.bn(stem.conv(clips))), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    expected_gradient = torch.autograd.grad(expected.square().sum(), stem.conv.weight)[0]
    output = stem(clips)
    gradient = torch.autograd.grad(output.square().sum(), stem.conv.weight)[0]
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_pool_of_clips_in_another_layout_is_the_same():
    clips = clips_of(2, 4, 3, 7, 6)
    assert torch.equal(convolutions.max_pool_spatial(clips.contiguous()), convolutions.max_pool_spatial(clips))


def test_no_layer_strides_in_time():
    net = small_net(depth=50)
    assert all(layer.stride[0] == 1 for layer in net.modules() if isinstance(layer, nn.Conv3d))


def test_initial_weights():
    net = ResNet3D(depth=50, width=1 / 4, num_classes=400)
    assert all(not block.bn3.weight.any() for stage in net.stages for block in stage)
    assert all(block.bn2.weight.eq(1).all() for stage in net.stages for block in stage)
    assert not small_net().stages[0][0].bn2.weight.any()
    assert net.head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not net.head.bias.any()
    weight = net.stages[3][1].conv2.weight  # kaiming, fan_out = 128 channels * 9
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


def test_checkpoint_names():
    names = list(small_net().state_dict())
    assert names[0] == "stem.conv.weight"
    assert {
        "stem.bn.weight",
        "stages.0.0.conv1.weight",
        "stages.1.0.shortcut.conv.weight",
        "head.bias",
    } <= set(names)
    assert not any(name.startswith("stages.0.0.shortcut") for name in names)


def test_dropout_is_drawn_in_training_alone():
    net = small_net(dropout=0.9)
    clips = clips_of(2, 3, 4, 28, 28)
    assert not torch.equal(net(clips), net(clips))
    net.eval()
    assert torch.equal(net(clips), net(clips))
    assert torch.equal(net(clips), net.head(net.features(clips)))


def test_bf16_autocast_gives_fp32_gradients():
    net = small_net(depth=50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(clips_of(2, 3, 4, 28, 28))
    logits.float().sum().backward()
    assert logits.dtype == torch.bfloat16
    assert all(weight.grad.dtype == torch.float32 and weight.grad.isfinite().all() for weight in net.parameters())


@pytest.mark.parametrize("convolution", [pytest.param("2d", marks=pytest.mark.slow), "auto"])
def test_compiles_into_one_graph(convolution):
    net = small_net(depth=50, dropout=0.0, convolution=convolution)
    clips = clips_of(2, 3, 4, 28, 28)
    targets = []

    def backend(graph_module, _example_inputs):
        targets.extend(str(node.target) for node in graph_module.graph.nodes)
        return graph_module

    compiled = torch.compile(net, backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(clips), net(clips))
    assert any("conv2d" in target for target in targets)  # the views survive tracing
    torch.compiler.reset()


def test_every_batch_norm_becomes_a_synchronized_one():
    net = small_net(depth=50)
    num_norms = sum(isinstance(module, nn.BatchNorm3d) for module in net.modules())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert num_norms == 53
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in converted.modules()) == num_norms
    assert converted.eval()(clips_of(2, 3, 4, 28, 28)).shape == (2, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 34}, r"depth: received 34; accepted: 10, 18, 50"),
        ({"width": 0.3}, r"width: received 0\.3; accepted: a multiple of 1/64"),
        ({"width": 0}, r"width: received 0; accepted"),
        ({"num_classes": 0}, r"num_classes: received 0; accepted: 1 or more"),
        ({"dropout": 1.0}, r"dropout: received 1\.0; accepted: 0 or more, less than 1"),
        ({"stem_kernel": (5, 6, 7)}, r"stem_kernel: received \(5, 6, 7\); accepted: 3 odd sizes"),
        ({"convolution": "1d"}, r"convolution: received '1d'; accepted: auto, conv3d, 2d"),
    ],
)
def test_arguments_outside_of_the_accepted_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        small_net(**changes)
