"""3D-ResNet of Table A4: 2D residual networks inflated in time, without any temporal stride.

Shapes: B clips, C channels, T frames, H x W pixels, K classes.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from cmpl.config import NetworkConfig
from cmpl.models.batch_norm import BatchNorm3d
from cmpl.models.convolution import Convolution, max_pool_spatial
from pipelines.errors import InputError

_NUM_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def build(network: NetworkConfig, *, num_classes: int) -> "ResNet3D":
    """The backbone `resnet3d`. Raises InputError as ResNet3D does."""
    return ResNet3D(
        depth=network.depth,
        width=network.width,
        num_classes=num_classes,
        dropout=network.dropout,
        stem_kernel=network.stem_kernel,
        zero_init_residual=network.zero_init_residual,
    )


class Stem(nn.Module):
    """conv1 and pool1 of Table A4: (B, 3, T, H, W) -> (B, C, T, H/4, W/4)."""

    def __init__(self, num_channels: int, *, kernel: Sequence[int], convolution: str) -> None:
        super().__init__()
        self.conv = Convolution(3, num_channels, kernel=kernel, spatial_stride=2, convolution=convolution)
        self.bn = BatchNorm3d(num_channels)

    def forward(self, clips: Tensor) -> Tensor:
        # relu(max(x)) = max(relu(x)), gradients included, and after the pool a quarter of the pixels is left.
        return F.relu(max_pool_spatial(self.bn(self.conv(clips))))


class BasicBlock(nn.Module):
    """3x3x3 then 1x3x3, the spatial stride in the first: the block of depths 10 and 18."""

    expansion = 1

    def __init__(self, in_channels: int, num_channels: int, *, spatial_stride: int, convolution: str) -> None:
        super().__init__()
        conv = functools.partial(Convolution, convolution=convolution)
        self.conv1 = conv(in_channels, num_channels, kernel=(3, 3, 3), spatial_stride=spatial_stride)
        self.bn1 = BatchNorm3d(num_channels)
        self.conv2 = conv(num_channels, num_channels, kernel=(1, 3, 3))
        self.bn2 = BatchNorm3d(num_channels)
        self.shortcut = _shortcut(in_channels, num_channels, spatial_stride=spatial_stride, conv=conv)

    def forward(self, clips: Tensor) -> Tensor:
        residual = F.relu(self.bn1(self.conv1(clips)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + self.shortcut(clips), inplace=True)


class Bottleneck(nn.Module):
    """3x1x1, 1x3x3 (with the spatial stride), 1x1x1 with four times the channels: the block of depth 50."""

    expansion = 4

    def __init__(self, in_channels: int, num_channels: int, *, spatial_stride: int, convolution: str) -> None:
        super().__init__()
        out_channels = num_channels * self.expansion
        conv = functools.partial(Convolution, convolution=convolution)
        self.conv1 = conv(in_channels, num_channels, kernel=(3, 1, 1))
        self.bn1 = BatchNorm3d(num_channels)
        self.conv2 = conv(num_channels, num_channels, kernel=(1, 3, 3), spatial_stride=spatial_stride)
        self.bn2 = BatchNorm3d(num_channels)
        self.conv3 = conv(num_channels, out_channels, kernel=(1, 1, 1))
        self.bn3 = BatchNorm3d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels, spatial_stride=spatial_stride, conv=conv)

    def forward(self, clips: Tensor) -> Tensor:
        residual = F.relu(self.bn1(self.conv1(clips)), inplace=True)
        residual = F.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        return F.relu(residual + self.shortcut(clips), inplace=True)


class ResNet3D(nn.Module):
    """3D-ResNet (Table A4): clips (B, 3, T, H, W), float, normalized, channels_last_3d -> logits (B, K).

    depth: 10, 18 or 50. width: factor on every channel count; 64 * width must be whole (the paper's auxiliary takes
    1/4). num_classes: K. dropout: probability, before the head. stem_kernel: (time, height, width) of conv1, odd.
    zero_init_residual: whether every residual block starts as its shortcut. convolution: see Convolution.
    `num_features` is the length of what `features` gives. Raises InputError for an argument outside of these.
    """

    def __init__(
        self,
        *,
        depth: int = 50,
        width: float = 1.0,
        num_classes: int,
        dropout: float = 0.5,
        stem_kernel: Sequence[int] = (5, 7, 7),
        zero_init_residual: bool = True,
        convolution: str = "auto",
    ) -> None:
        super().__init__()
        num_channels = _checked_num_channels(width)
        if depth not in _NUM_BLOCKS:
            raise InputError(f"depth: received {depth!r}; accepted: {', '.join(map(str, _NUM_BLOCKS))}")
        if num_classes < 1:
            raise InputError(f"num_classes: received {num_classes!r}; accepted: 1 or more")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout: received {dropout!r}; accepted: 0 or more, less than 1")
        if len(stem_kernel) != 3 or any(size < 1 or size % 2 == 0 for size in stem_kernel):
            raise InputError(f"stem_kernel: received {tuple(stem_kernel)}; accepted: 3 odd sizes, as (5, 7, 7)")
        block = Bottleneck if depth == 50 else BasicBlock
        self.stem = Stem(num_channels, kernel=stem_kernel, convolution=convolution)
        self.stages = nn.ModuleList()
        in_channels = num_channels
        for stage, num_blocks in enumerate(_NUM_BLOCKS[depth]):
            channels = num_channels << stage
            blocks = []
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(in_channels, channels, spatial_stride=stride, convolution=convolution))
                in_channels = channels * block.expansion
            self.stages.append(nn.Sequential(*blocks))
        self.num_features = in_channels
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(in_channels, num_classes)
        self._initialize()
        if zero_init_residual:
            for module in self.modules():  # every block starts as its shortcut
                if isinstance(module, BasicBlock | Bottleneck):
                    nn.init.zeros_((module.bn3 if isinstance(module, Bottleneck) else module.bn2).weight)

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, Convolution):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def features(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, num_features), averaged over T, H and W."""
        clips = self.stem(clips)
        for stage in self.stages:
            clips = stage(clips)
        return clips.mean(dim=(2, 3, 4))

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(clips)))


def _shortcut(
    in_channels: int, out_channels: int, *, spatial_stride: int, conv: Callable[..., Convolution]
) -> nn.Module:
    if in_channels == out_channels and spatial_stride == 1:
        return nn.Identity()
    projection = conv(in_channels, out_channels, kernel=(1, 1, 1), spatial_stride=spatial_stride)
    return nn.Sequential(OrderedDict(conv=projection, bn=BatchNorm3d(out_channels)))


def _checked_num_channels(width: float) -> int:
    num_channels = 64 * width
    if num_channels < 1 or num_channels != int(num_channels):
        raise InputError(f"width: received {width!r}; accepted: a multiple of 1/64, such as 1, 1/2, 1/4 or 1/8")
    return int(num_channels)
