"""A plain 2D ResNet (He et al. 2016) with torchvision's names, so that its weight files fit.

Shapes: B images, C channels, H x W pixels, K classes.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from cmpl.models.batch_norm import BatchNorm2d
from pipelines.errors import InputError

_NUM_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What torchvision's weights expect of images in 0 to 1."""


class _Basic(nn.Module):
    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.downsample = _downsample(in_channels, channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(residual + (self.downsample(x) if self.downsample else x))


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = BatchNorm2d(4 * channels)
        self.downsample = _downsample(in_channels, 4 * channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = functional.relu(self.bn1(self.conv1(x)))
        residual = self.bn3(self.conv3(functional.relu(self.bn2(self.conv2(residual)))))
        return functional.relu(residual + (self.downsample(x) if self.downsample else x))


class ResNet2D(nn.Module):
    """Images (B, 3, H, W) uint8 -> logits (B, K). Raises InputError for a depth other than 18, 34 or 50."""

    def __init__(self, *, depth: int, num_classes: int = 1000) -> None:
        super().__init__()
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        # Buffers, so that no step copies them to the device; not persistent, so that weight files fit.
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)
        if depth not in _NUM_BLOCKS:
            raise InputError(f"depth: received {depth!r}; accepted: {', '.join(map(str, _NUM_BLOCKS))}")
        block = _Bottleneck if depth == 50 else _Basic
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(64)
        in_channels = 64
        for stage, num_blocks in enumerate(_NUM_BLOCKS[depth]):
            blocks = []
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(in_channels, 64 << stage, stride=stride))
                in_channels = (64 << stage) * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() / 255 - self.pixel_mean) / self.pixel_std
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(len(_NUM_BLOCKS[18])):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean(dim=(2, 3)))


def depth_of(tensors: dict[str, Tensor]) -> int | None:
    """Which of the depths a weight file is of, by its names; None where it is of none."""
    if "layer1.0.conv3.weight" in tensors:
        return 50 if "layer3.5.conv3.weight" in tensors and "layer3.6.conv3.weight" not in tensors else None
    if "layer1.0.conv2.weight" in tensors and "layer4.2.conv2.weight" in tensors:
        return 34
    return 18 if "layer4.1.conv2.weight" in tensors else None


def _downsample(in_channels: int, channels: int, *, stride: int) -> nn.Sequential | None:
    if in_channels == channels and stride == 1:
        return None
    parts = OrderedDict([("0", nn.Conv2d(in_channels, channels, 1, stride, bias=False)), ("1", BatchNorm2d(channels))])
    return nn.Sequential(parts)
