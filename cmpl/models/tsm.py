"""TSM (Lin et al. 2019): a 2D ResNet whose blocks shift channels between neighboring frames.

Shapes: B clips, C channels, T frames, H x W pixels, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cmpl.config import NetworkConfig
from cmpl.models.convolution import Convolution
from cmpl.models.resnet3d import BasicBlock, Bottleneck, ResNet3D
from pipelines.errors import InputError

SHIFT_SHARE = 8
"""One of so many channels comes from the next frame, and one from the frame before."""


def build(network: NetworkConfig, *, num_classes: int) -> "TSM":
    """The backbone `tsm`. Raises InputError as TSM does; `stem_kernel` is not asked."""
    return TSM(
        depth=network.depth,
        width=network.width,
        num_classes=num_classes,
        dropout=network.dropout,
        zero_init_residual=network.zero_init_residual,
    )


class ShiftedConvolution(Convolution):
    """A convolution of frames that sees an eighth of the channels of the next frame and an eighth of the last one's."""

    def forward(self, clips: Tensor) -> Tensor:
        return super().forward(shifted(clips))


class TSM(ResNet3D):
    """Clips (B, 3, T, H, W), float, normalized, channels_last_3d -> logits (B, K).

    All kernels are 2D; the shift comes before the first convolution of each residual branch, so that the shortcut keeps
    a frame's own channels. The paper's clip logits are the mean of its frames' logits. These are linear in a frame's
    features, so the head is applied to the features' mean over frames: in evaluation the same numbers. In training,
    dropout is drawn once a clip, where it would be drawn for each frame.

    depth: 10, 18 or 50. width: factor on every channel count, a multiple of 1/8. Others as ResNet3D's, InputError, too.
    Parameters are those of the 2D network: for Kinetics-400 11.38 M at depth 18 and 24.33 M at depth 50.
    """

    def __init__(
        self,
        *,
        depth: int = 18,
        width: float = 1.0,
        num_classes: int,
        dropout: float = 0.5,
        zero_init_residual: bool = True,
        convolution: str = "auto",
    ) -> None:
        if width < 1 / 8 or 8 * width != int(8 * width):  # 64 * width channels, in whole eighths
            raise InputError(f"width: received {width!r}; accepted by tsm: a multiple of 0.125")
        super().__init__(
            depth=depth,
            width=width,
            num_classes=num_classes,
            dropout=dropout,
            stem_kernel=(1, 7, 7),
            zero_init_residual=zero_init_residual,
            convolution=convolution,
        )
        for stage in self.stages:
            assert isinstance(stage, nn.Sequential)
            for block in stage:
                assert isinstance(block, BasicBlock | Bottleneck)
                block.conv1 = _over_frames(block.conv1, convolution=convolution)


def shifted(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) -> the same shape and memory order: the first C/8 channels are those of the next frame, the
    second C/8 those of the frame before; zeros where there is none."""
    part = clips.shape[1] // SHIFT_SHARE
    output = torch.zeros_like(clips)
    output[:, :part, :-1] = clips[:, :part, 1:]
    output[:, part : 2 * part, 1:] = clips[:, part : 2 * part, :-1]
    output[:, 2 * part :] = clips[:, 2 * part :]
    return output


def _over_frames(first: Convolution, *, convolution: str) -> ShiftedConvolution:
    """The first convolution of a block: of the same sizes, but over single, shifted frames."""
    kernel: Sequence[int] = (1, *first.kernel_size[1:])
    made = ShiftedConvolution(
        first.in_channels,
        first.out_channels,
        kernel=kernel,
        spatial_stride=first.stride[1],
        convolution=convolution,
    )
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made
