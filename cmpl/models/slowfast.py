"""SlowFast-R50 (Feichtenhofer et al. 2019): a slow pathway of many channels and a fast one of few.

Shapes: B clips, C channels of a pathway, T frames, H x W pixels, K classes. The one clip is the fast pathway's; the
slow one sees every `alpha`-th frame of it: 32x2 is slow 8x8 and fast 32x2.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmpl.config import NetworkConfig
from cmpl.models.batch_norm import BatchNorm3d
from cmpl.models.convolution import Convolution
from cmpl.models.resnet3d import Bottleneck, Stem
from pipelines.errors import InputError

NUM_BLOCKS = (3, 4, 6, 3)
SLOW_TEMPORAL_KERNELS = (1, 1, 3, 3)
"""The slow pathway's first convolutions look at neighboring frames in the last two stages alone."""
FUSION_KERNEL, FUSION_RATIO = 7, 2


def build(network: NetworkConfig, *, num_classes: int) -> "SlowFast":
    """The backbone `slowfast`. Raises InputError for a depth other than 50; `stem_kernel` is not asked."""
    if network.depth != 50:
        raise InputError(f"depth: received {network.depth}; accepted by slowfast: 50")
    return SlowFast(
        width=network.width,
        num_classes=num_classes,
        dropout=network.dropout,
        zero_init_residual=network.zero_init_residual,
    )


class SlowFast(nn.Module):
    """Clips (B, 3, T, H, W), float, normalized, channels_last_3d -> logits (B, K).

    alpha: frames of the fast pathway for one of the slow. beta: channels of the fast pathway, as a share of the slow
    one's. width: factor on every channel count; 64 * width * beta must be whole. zero_init_residual: whether every
    residual block starts as its shortcut. Raises InputError for a width that leaves no whole number of channels.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        alpha: int = 4,
        beta: float = 1 / 8,
        dropout: float = 0.5,
        zero_init_residual: bool = True,
        convolution: str = "auto",
    ) -> None:
        super().__init__()
        slow, fast = 64 * width, 64 * width * beta
        if fast < 1 or fast != int(fast):
            raise InputError(f"width: received {width!r}; accepted by slowfast: a multiple of {1 / (64 * beta):g}")
        slow, fast = int(slow), int(fast)
        self.alpha = alpha
        self.slow_stem = Stem(slow, kernel=(1, 7, 7), convolution=convolution)
        self.fast_stem = Stem(fast, kernel=(5, 7, 7), convolution=convolution)
        self.fusions = nn.ModuleList([Fusion(fast, alpha=alpha)])
        self.slow_stages, self.fast_stages = nn.ModuleList(), nn.ModuleList()
        slow_in, fast_in = slow, fast
        for stage, num_blocks in enumerate(NUM_BLOCKS):
            make = functools.partial(_stage, num_blocks=num_blocks, stride=1 if stage == 0 else 2, conv=convolution)
            kernel = SLOW_TEMPORAL_KERNELS[stage]
            self.slow_stages.append(make(slow_in + FUSION_RATIO * fast_in, slow << stage, temporal_kernel=kernel))
            self.fast_stages.append(make(fast_in, fast << stage, temporal_kernel=3))
            slow_in, fast_in = 4 * (slow << stage), 4 * (fast << stage)
            if stage < len(NUM_BLOCKS) - 1:
                self.fusions.append(Fusion(fast_in, alpha=alpha))
        self.num_features = slow_in + fast_in
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.num_features, num_classes)
        self._initialize(zero_init_residual=zero_init_residual)

    def _initialize(self, *, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Bottleneck) and zero_init_residual:
                nn.init.zeros_(module.bn3.weight)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def features(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, num_features): both pathways averaged over T, H and W, side by side."""
        slow = clips[:, :, :: self.alpha].contiguous(memory_format=torch.channels_last_3d)
        slow, fast = self.slow_stem(slow), self.fast_stem(clips)
        for slow_stage, fast_stage, fusion in zip(self.slow_stages, self.fast_stages, self.fusions, strict=True):
            slow = slow_stage(torch.cat([slow, fusion(fast)], dim=1))
            fast = fast_stage(fast)
        return torch.cat([slow.mean(dim=(2, 3, 4)), fast.mean(dim=(2, 3, 4))], dim=1)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(clips)))


class Fusion(nn.Module):
    """Fast to slow: a convolution over time, strided by alpha. (B, C, T, H, W) -> (B, 2C, ceil(T / alpha), H, W)."""

    def __init__(self, num_channels: int, *, alpha: int) -> None:
        super().__init__()
        kernel, padding = (FUSION_KERNEL, 1, 1), (FUSION_KERNEL // 2, 0, 0)
        self.conv = nn.Conv3d(num_channels, FUSION_RATIO * num_channels, kernel, (alpha, 1, 1), padding, bias=False)
        self.bn = BatchNorm3d(FUSION_RATIO * num_channels)
        self.conv.weight.data = self.conv.weight.data.contiguous(memory_format=torch.channels_last_3d)

    def forward(self, fast: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(fast)), inplace=True)


def _stage(
    in_channels: int, num_channels: int, *, num_blocks: int, stride: int, temporal_kernel: int, conv: str
) -> nn.Sequential:
    blocks = []
    for index in range(num_blocks):
        block = Bottleneck(in_channels, num_channels, spatial_stride=stride if index == 0 else 1, convolution=conv)
        if temporal_kernel == 1:
            block.conv1 = Convolution(in_channels, num_channels, kernel=(1, 1, 1), convolution=conv)
        blocks.append(block)
        in_channels = num_channels * Bottleneck.expansion
    return nn.Sequential(*blocks)
