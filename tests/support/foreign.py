"""State dicts with the names and shapes that other projects' networks have, filled with numbers.

The names are those of the projects' sources: PySlowFast (slowfast/models/stem_helper.py, resnet_helper.py,
video_model_builder.py), MMAction2 (mmaction/models/backbones/resnet3d*.py; mmcv's ConvModule), PyTorchVideo
(models/resnet.py, slowfast.py), torchvision (models/resnet.py, models/video/resnet.py), timm (models/resnet.py), MoCo
(main_moco.py). `base`: channels of the stem, 64 in all of them; fewer make a quick test.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

NUM_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
Shapes = dict[str, tuple[int, ...]]


def filled(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors of these shapes, each of one number of its own."""
    return {
        name: torch.zeros((), dtype=torch.int64) if name.endswith("num_batches_tracked") else torch.full(shape, k / 999)
        for k, (name, shape) in enumerate(shapes.items())
    }


def norm(name: str, channels: int, *, counted: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | ({f"{name}.num_batches_tracked": ()} if counted else {})


def blocks(depth: int, base: int, *, lateral: int = 0) -> Iterator[tuple[int, int, int, int, int]]:
    """(stage from 1, block, channels in, inside, out); `lateral` channels join before each stage, as a share 1 / n."""
    expansion = 4 if depth == 50 else 1
    before = base
    for stage, number in enumerate(NUM_BLOCKS[depth], 1):
        inside = base << (stage - 1)
        for block in range(number):
            joined = before + (before // lateral if lateral and block == 0 else 0)
            yield stage, block, joined, inside, inside * expansion
            before = inside * expansion


def torchvision_2d(depth: int = 50, base: int = 64) -> Shapes:
    """resnet50() and timm's resnet50; resnet18()."""
    shapes: Shapes = {"conv1.weight": (base, 3, 7, 7), **norm("bn1", base)}
    for stage, block, before, inside, after in blocks(depth, base):
        name = f"layer{stage}.{block}"
        for k, shape in enumerate(_kernels_2d(depth, before, inside, after), 1):
            shapes |= {f"{name}.conv{k}.weight": shape, **norm(f"{name}.bn{k}", shape[0])}
        if block == 0 and (before != after or stage > 1):
            shapes |= {f"{name}.downsample.0.weight": (after, before, 1, 1), **norm(f"{name}.downsample.1", after)}
    return shapes | {"fc.weight": (1000, after), "fc.bias": (1000,)}


def _kernels_2d(depth: int, before: int, inside: int, after: int) -> list[tuple[int, ...]]:
    if depth == 50:
        return [(inside, before, 1, 1), (inside, inside, 3, 3), (after, inside, 1, 1)]
    return [(inside, before, 3, 3), (after, inside, 3, 3)]


def timm_resnet50d(base: int = 64) -> Shapes:
    """A stem of three convolutions, and an average pool before each shortcut's convolution."""
    half = base // 2
    shapes: Shapes = {"conv1.0.weight": (half, 3, 3, 3), **norm("conv1.1", half)}
    shapes |= {"conv1.3.weight": (half, half, 3, 3), **norm("conv1.4", half), "conv1.6.weight": (base, half, 3, 3)}
    plain = torchvision_2d(50, base)
    for name, shape in plain.items():
        if name != "conv1.weight":
            shapes[name.replace("downsample.1.", "downsample.2.").replace("downsample.0.", "downsample.1.")] = shape
    return shapes


def moco(base: int = 64) -> Shapes:
    """MoCo v2's checkpoint: two encoders and a queue."""
    shapes: Shapes = {}
    for encoder in ("module.encoder_q", "module.encoder_k"):
        plain = torchvision_2d(50, base)
        shapes |= {f"{encoder}.{name}": shape for name, shape in plain.items() if not name.startswith("fc.")}
        shapes |= {f"{encoder}.fc.0.weight": (32 * base, 32 * base), f"{encoder}.fc.0.bias": (32 * base,)}
    return shapes | {"module.queue": (128, 16), "module.queue_ptr": (1,)}


def r3d_18(base: int = 64) -> Shapes:
    """torchvision.models.video.r3d_18: every kernel is 3x3x3."""
    shapes: Shapes = {"stem.0.weight": (base, 3, 3, 7, 7), **norm("stem.1", base)}
    for stage, block, before, inside, after in blocks(18, base):
        name = f"layer{stage}.{block}"
        for k, channels in enumerate((before, inside), 1):
            shapes |= {f"{name}.conv{k}.0.weight": (inside, channels, 3, 3, 3), **norm(f"{name}.conv{k}.1", inside)}
        if block == 0 and stage > 1:
            shapes |= {f"{name}.downsample.0.weight": (after, before, 1, 1, 1), **norm(f"{name}.downsample.1", after)}
    return shapes | {"fc.weight": (400, after), "fc.bias": (400,)}


TEMPORAL = {"slow": (1, 1, 1, 3, 3), "i3d": (5, 3, 3, 3, 3), "fast": (5, 3, 3, 3, 3)}
"""Frames of the stem's kernel and of the first one of each stage's blocks."""


def pathway(
    kind: str,
    base: int,
    *,
    stem: Callable[[str], str],
    part: Callable[[int, int, str], str],
    lateral: int = 0,
    counted: bool,
) -> Shapes:
    """One pathway of a 3D-ResNet-50. `part(stage, block, what)` names a layer: conv1, bn1, shortcut, shortcut_bn."""
    frames = TEMPORAL[kind]
    shapes: Shapes = {f"{stem('conv')}.weight": (base, 3, frames[0], 7, 7), **norm(stem("bn"), base, counted=counted)}
    for stage, block, before, inside, after in blocks(50, base, lateral=lateral):
        kernels = [(inside, before, frames[stage], 1, 1), (inside, inside, 1, 3, 3), (after, inside, 1, 1, 1)]
        for k, kernel in enumerate(kernels, 1):
            shapes[f"{part(stage, block, f'conv{k}')}.weight"] = kernel
            shapes |= norm(part(stage, block, f"bn{k}"), kernel[0], counted=counted)
        if block == 0:
            shapes[f"{part(stage, block, 'shortcut')}.weight"] = (after, before, 1, 1, 1)
            shapes |= norm(part(stage, block, "shortcut_bn"), after, counted=counted)
    return shapes


def pyslowfast(kind: str = "slow", base: int = 64) -> Shapes:
    """SLOW_8x8_R50.pyth, I3D_8x8_R50.pyth: weights that came from Caffe2 count no batches."""
    return _pyslowfast_path(0, kind, base) | {
        "head.projection.weight": (400, 32 * base),
        "head.projection.bias": (400,),
    }


def _pyslowfast_path(path: int, kind: str, base: int, *, lateral: int = 0) -> Shapes:
    words = {
        f"{name}{k}": f"branch2.{letter}{end}"
        for name, end in (("conv", ""), ("bn", "_bn"))
        for k, letter in ((1, "a"), (2, "b"), (3, "c"))
    }
    words |= {"shortcut": "branch1", "shortcut_bn": "branch1_bn"}
    return pathway(
        kind,
        base,
        stem=lambda what: f"s1.pathway{path}_stem.{what}",
        part=lambda stage, block, what: f"s{stage + 1}.pathway{path}_res{block}.{words[what]}",
        lateral=lateral,
        counted=False,
    )


def pyslowfast_slowfast(base: int = 64) -> Shapes:
    """SLOWFAST_8x8_R50.pyth."""
    fast = base // 8
    shapes = _pyslowfast_path(0, "slow", base, lateral=4) | _pyslowfast_path(1, "fast", fast)
    for stage, channels in enumerate((fast, 4 * fast, 8 * fast, 16 * fast), 1):
        shapes[f"s{stage}_fuse.conv_f2s.weight"] = (2 * channels, channels, 7, 1, 1)
        shapes |= norm(f"s{stage}_fuse.bn", 2 * channels, counted=False)
    return shapes | {"head.projection.weight": (400, 32 * (base + fast)), "head.projection.bias": (400,)}


def _mmaction_path(prefix: str, kind: str, base: int, *, lateral: int = 0) -> Shapes:
    words = {"shortcut": "downsample.conv", "shortcut_bn": "downsample.bn"}
    words |= {f"{name}{k}": f"conv{k}.{name}" for name in ("conv", "bn") for k in (1, 2, 3)}
    return pathway(
        kind,
        base,
        stem=lambda what: f"{prefix}conv1.{what}",
        part=lambda stage, block, what: f"{prefix}layer{stage}.{block}.{words[what]}",
        lateral=lateral,
        counted=True,
    )


def mmaction_slowonly(base: int = 64) -> Shapes:
    """slowonly_r50_8x8x1: the same names in versions 0.x and 1.x."""
    head: Shapes = {"cls_head.fc_cls.weight": (400, 32 * base), "cls_head.fc_cls.bias": (400,)}
    return _mmaction_path("backbone.", "slow", base) | head


def mmaction_slowfast(base: int = 64) -> Shapes:
    """slowfast_r50_8x8x1: its lateral convolutions have no BatchNorm and see 5 frames."""
    fast = base // 8
    shapes = _mmaction_path("backbone.slow_path.", "slow", base, lateral=4)
    shapes |= _mmaction_path("backbone.fast_path.", "fast", fast)
    names = ("conv1", "layer1", "layer2", "layer3")
    for name, channels in zip(names, (fast, 4 * fast, 8 * fast, 16 * fast), strict=True):
        shapes[f"backbone.slow_path.{name}_lateral.conv.weight"] = (2 * channels, channels, 5, 1, 1)
    return shapes


def pytorchvideo(kind: str = "slow", base: int = 64) -> Shapes:
    """slow_r50 of torch hub."""
    words = {
        f"{name}{k}": f"branch2.{there}_{letter}"
        for name, there in (("conv", "conv"), ("bn", "norm"))
        for k, letter in ((1, "a"), (2, "b"), (3, "c"))
    }
    words |= {"shortcut": "branch1_conv", "shortcut_bn": "branch1_norm"}
    shapes = pathway(
        kind,
        base,
        stem=lambda what: f"blocks.0.{'conv' if what == 'conv' else 'norm'}",
        part=lambda stage, block, what: f"blocks.{stage}.res_blocks.{block}.{words[what]}",
        counted=True,
    )
    return shapes | {"blocks.5.proj.weight": (400, 32 * base), "blocks.5.proj.bias": (400,)}
