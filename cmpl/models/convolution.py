"""A 3D convolution that can run as a 2D one, and the views of memory that make this free.

Shapes: B clips, C channels, T frames, H x W pixels. All activations lie in memory as (B, T, H, W, C), which torch
calls channels_last_3d.
"""

import functools
import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmpl.models.gradients import OwnGradients, Shape, Way, way_of
from pipelines.errors import InputError

logger = logging.getLogger(__name__)

CONVOLUTIONS = ("auto", "conv3d", "2d")

# What 'auto' takes for each kind of kernel. The CPU row follows benchmarks/results/convolution_cpu.json, and
# where sizes disagree its small layers. The CUDA row is not measured: cuDNN is expected to do channels-last
# images better than volumes.
_AUTO_FORMS = {
    "cpu": {"spatial": "conv3d", "temporal": "2d", "pointwise": "matmul", "volume": "conv3d"},
    "cuda": {"spatial": "2d", "temporal": "2d", "pointwise": "2d", "volume": "conv3d"},
}


class Convolution(nn.Conv3d):
    """A 3D convolution without bias, padded to keep T, H, W at stride 1, that can run as a 2D one.

    Takes and gives (B, C, T, H, W). The weight is nn.Conv3d's whatever the form, so checkpoints are alike.

    kernel: (time, height, width), odd. spatial_stride: in height and width; there is none in time (Table A4).
    convolution: "conv3d"; "2d": a 1 x k x k kernel over B*T images, a k x 1 x 1 one over (T, H*W) images, both views of
    channels_last_3d memory; "auto": by kernel and device, as measured. Clips in another layout run as conv3d, which the
    log says once: a view of them would have to copy. Raises InputError for another `convolution`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: Sequence[int],
        spatial_stride: int = 1,
        convolution: str = "auto",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            (kernel[0], kernel[1], kernel[2]),
            stride=(1, spatial_stride, spatial_stride),
            padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2),
            bias=False,
        )
        if convolution not in CONVOLUTIONS:
            raise InputError(f"convolution: received {convolution!r}; accepted: {', '.join(CONVOLUTIONS)}")
        self.convolution = convolution
        self.own_gradients = True  # off: torch's, to compare
        self.padding_sides = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        # Weights in the layout of the activations. A pointwise weight is one matrix in either layout: left as
        # it is, its gradient has the same strides in every form, as DDP's buckets want.
        if self.kind != "pointwise":
            self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last_3d)

    @property
    def kind(self) -> str:
        """'pointwise' (1x1x1), 'spatial' (1xkxk), 'temporal' (kx1x1 at stride 1) or 'volume' (any other)."""
        time, height, width = self.kernel_size
        if time == 1:
            return "pointwise" if height == width == 1 else "spatial"
        return "temporal" if height == width == 1 and self.stride == (1, 1, 1) else "volume"

    def form(self, clips: Tensor) -> str:
        """'conv3d', '2d' or 'matmul': how these clips will be convolved."""
        if self.kind == "volume" or self.convolution == "conv3d":
            return "conv3d"
        if not is_channels_last(clips):
            if not (torch.compiler.is_compiling() or clips.is_meta):
                _say_once("a convolution got clips that are not channels_last_3d and runs as conv3d")
            return "conv3d"
        if self.convolution == "2d":
            return "2d"
        return _AUTO_FORMS.get(clips.device.type, _AUTO_FORMS["cuda"])[self.kind]

    def forward(self, clips: Tensor) -> Tensor:
        form = self.form(clips)
        if form == "matmul":
            return _as_matmul(clips, self.weight, stride=self.stride[1])
        taps = self._taps_in_reach(clips) if clips.device.type == "cpu" else ()
        padding = self._padding_of(taps) if taps else self.padding_sides
        shape, form = Shape(stride=self.stride[1], padding=padding, taps=taps), "conv3d" if taps else form
        convolve = functools.partial(self._convolved, form=form, padding=shape.padding)
        way = self._way_to_gradients(clips, shape)
        if way is None:
            output = convolve(clips, shape.part(self.weight))
        else:
            output = OwnGradients.apply(clips, self.weight, convolve, shape, way)
        # Free, but for the CPU's small batches that leave the layout: there every later layer would pay.
        return output.contiguous(memory_format=torch.channels_last_3d) if is_channels_last(clips) else output

    def _way_to_gradients(self, clips: Tensor, shape: Shape) -> Way | None:
        """How to make gradients faster than torch does (`cmpl.models.gradients`); None where torch's are asked for."""
        wanted = self.own_gradients and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if not wanted or self.kind == "pointwise" or not is_channels_last(clips):
            return None
        kernel = tuple(shape.part(self.weight).shape[2:])
        return way_of(clips, kernel=kernel, stride=shape.stride, num_outputs=self.out_channels)

    def _convolved(self, clips: Tensor, weight: Tensor, *, form: str, padding: tuple[int, ...]) -> Tensor:
        if form == "2d":
            as_2d = self._as_temporal_2d if self.kind == "temporal" else self._as_spatial_2d
            return as_2d(clips, weight)
        if self.kind == "pointwise":
            weight = weight.flatten(1)[:, :, None, None, None]
        elif weight.shape[2:] == (1, 1, 1) and is_channels_last(clips):  # the part of a kernel that meets a pixel
            return _as_matmul(clips, weight, stride=self.stride[1])
        return F.conv3d(clips, weight, None, self.stride, padding)

    def _taps_in_reach(self, clips: Tensor) -> tuple[slice, ...]:
        """The part of the kernel, as slices in time, height and width, that meets any pixel of clips so small that the
        rest lies on the padding wherever the kernel stands; () where that is all of it.

        A 1x3x3 kernel over one pixel is one tap of nine; the others' gradients are 0.
        """
        taps = []
        for size, kernel, stride, padding in zip(
            clips.shape[2:], self.kernel_size, self.stride, self.padding_sides, strict=True
        ):
            num_places = (size + 2 * padding - kernel) // stride + 1
            first, end = max(0, padding - (num_places - 1) * stride), min(kernel, padding + size)
            # What is left of the padding must give the same places.
            if (size + 2 * (padding - first) - (end - first)) // stride + 1 != num_places:
                first, end = 0, kernel
            taps.append(slice(first, end))
        whole = all(tap == slice(0, kernel) for tap, kernel in zip(taps, self.kernel_size, strict=True))
        return () if whole else tuple(taps)

    def _padding_of(self, taps: tuple[slice, ...]) -> tuple[int, ...]:
        """The padding of a part of the kernel."""
        return tuple(padding - tap.start for padding, tap in zip(self.padding_sides, taps, strict=True))

    def _as_spatial_2d(self, clips: Tensor, weight: Tensor) -> Tensor:
        weight = weight.flatten(1)[:, :, None, None] if self.kind == "pointwise" else weight.squeeze(2)
        images = F.conv2d(frames_as_images(clips), weight, None, self.stride[1:], self.padding[1:])
        return images_as_frames(images, num_frames=clips.shape[2])

    def _as_temporal_2d(self, clips: Tensor, weight: Tensor) -> Tensor:
        b, c, t, h, w = clips.shape
        images = clips.view(b, c, t, h * w)
        images = F.conv2d(images, weight.squeeze(3), None, 1, (self.kernel_size[0] // 2, 0))
        return images.view(b, self.out_channels, t, h, w)


def _as_matmul(clips: Tensor, weight: Tensor, *, stride: int) -> Tensor:
    """A 1 x 1 x 1 kernel. At a spatial stride the product copies the pixels it keeps, one of stride * stride."""
    kept = clips[..., ::stride, ::stride]
    return F.linear(kept.permute(0, 2, 3, 4, 1), weight.flatten(1)).permute(0, 4, 1, 2, 3)


def is_channels_last(clips: Tensor) -> bool:
    return clips.is_contiguous(memory_format=torch.channels_last_3d)


def frames_as_images(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B*T, C, H, W), a view; RuntimeError where it would have to copy."""
    b, c, t, h, w = clips.shape
    return clips.transpose(1, 2).view(b * t, c, h, w)


def images_as_frames(images: Tensor, *, num_frames: int) -> Tensor:
    """(B*T, C, H, W) -> (B, C, T, H, W): the view back."""
    return images.view(-1, num_frames, *images.shape[1:]).transpose(1, 2)


def max_pool_spatial(clips: Tensor) -> Tensor:
    """pool1 of Table A4, 1x3x3 at stride (1, 2, 2), as a 2D pool where the layout lets it be a view."""
    if not is_channels_last(clips):
        return F.max_pool3d(clips, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    return images_as_frames(F.max_pool2d(frames_as_images(clips), 3, 2, 1), num_frames=clips.shape[2])


@functools.cache
def _say_once(message: str) -> None:
    logger.warning(message)
