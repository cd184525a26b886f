"""Gradients of a convolution on a CPU, where oneDNN's own take several times as long: kernels in time, small pictures.

oneDNN computes the gradient of a 3D weight picture by picture, one small product each. Here it is one large product
over all positions of a part of the batch, or that of a 2D convolution for each tap in time. Only rounding differs: the
same sums in another order.

Shapes: B clips, C and N channels, T frames, H x W pixels; activations lie in memory as (B, T, H, W, C).
"""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_GATHERED_ELEMENTS = 1 << 19
"""Most numbers of pixels under a kernel that are gathered at a time: 2 MB, which the cache holds."""
_FEW_CHANNELS, _SOME_CHANNELS, _MANY_CHANNELS = 8, 32, 64
_FEW_PIXELS, _SOME_PIXELS = 9, 64

MEASURED_CAPABILITY = "AVX2"
"""With AVX-512 oneDNN has other kernels, beside which these ways were not measured."""

Kernel = tuple[int, ...]
Taps = tuple[slice, ...]


class Way(enum.Enum):
    """How gradients are computed; each takes the kernels that it names."""

    IN_TIME = "k x 1 x 1 at stride 1: the weight's by products, the clips' by a 2D convolution over (T, H*W) images"
    GATHERED = "any: the pixels under the kernel gathered at each position, then one product"
    IN_IMAGES = "any: for each tap in time a 2D convolution over all frames"


@functools.cache
def cpu_capability() -> str:
    """The widest instructions that torch uses here: "AVX2", "AVX512" or others."""
    return torch.backends.cpu.get_cpu_capability()


def way_of(clips: Tensor, *, kernel: Kernel, stride: int, num_outputs: int) -> Way | None:
    """The way that is faster than oneDNN's, as `python -m benchmarks.training.convolution` finds; None where none is.

    For float32 on a CPU alone, of the instructions that this was measured with.
    """
    if clips.device.type != "cpu" or clips.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return None
    if cpu_capability() != MEASURED_CAPABILITY:
        return None
    channels, time, has_space = clips.shape[1], kernel[0], kernel[1:] != (1, 1)
    if channels < _FEW_CHANNELS:
        return Way.IN_IMAGES if has_space and time > 1 and num_outputs <= _SOME_CHANNELS else None
    if not has_space and stride == 1:
        return Way.IN_TIME
    num_pixels = -(-clips.shape[3] // stride) * -(-clips.shape[4] // stride)
    if num_pixels <= (_SOME_PIXELS if channels >= _MANY_CHANNELS else _FEW_PIXELS):
        return Way.GATHERED
    return Way.IN_IMAGES if time > 1 or channels >= _SOME_CHANNELS else None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a convolution does: a stride in height and width alone, padding in time, height and width.

    taps: the part of the weight that takes part; () where all does. The rest has a gradient of 0.
    """

    stride: int
    padding: Kernel
    taps: Taps = ()

    def part(self, weight: Tensor) -> Tensor:
        """A view of the part of a weight (N, C, time, height, width) that takes part."""
        return weight[(slice(None), slice(None), *self.taps)] if self.taps else weight


class OwnGradients(torch.autograd.Function):
    """A convolution `forward(clips, part of the weight)`, with gradients made in a `Way`."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        clips: Tensor,
        weight: Tensor,
        forward: Callable[[Tensor, Tensor], Tensor],
        shape: Shape,
        way: Way,
    ) -> Tensor:
        ctx.save_for_backward(clips, weight)
        ctx.shape, ctx.way = shape, way  # type: ignore[attr-defined]  # as torch has it
        return forward(clips, shape.part(weight))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:  # type: ignore[no-untyped-def]
        clips, weight = ctx.saved_tensors
        wants_clips, wants_weight = ctx.needs_input_grad[:2]
        shape, way, of_clips, of_weight = ctx.shape, ctx.way, None, None
        part, gradient = shape.part(weight), gradient.contiguous(memory_format=torch.channels_last_3d)
        if wants_clips:
            of_clips = (_of_clips_in_time if way is Way.IN_TIME else _of_clips)(gradient, clips, part, shape)
        if wants_weight:
            of_weight = _OF_WEIGHT[way](gradient, clips, part, shape)
            if shape.taps:
                whole = torch.zeros_like(weight)
                shape.part(whole).copy_(of_weight)
                of_weight = whole
        return of_clips, of_weight, None, None, None


def _pixels(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, T, H, W, C), as it lies in memory."""
    return clips.permute(0, 2, 3, 4, 1)


def _put_at_frames_read(gradient: Tensor, *, tap: int, num_taps: int, out: Tensor) -> None:
    """Fills `out`, of the gradient's shape (B, T, H, W, N): beside each frame of the clips lies the gradient's frame
    for which this tap of a kernel in time reads it, 0 where there is none."""
    num_frames, step = gradient.shape[1], tap - num_taps // 2
    first, end = min(max(0, step), num_frames), max(min(num_frames, num_frames + step), 0)
    out[:, :first].zero_()
    out[:, end:].zero_()
    if first < end:
        out[:, first:end] = gradient[:, first - step : end - step]


def _of_clips_in_time(gradient: Tensor, clips: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    if weight.shape[2] == 1:
        return F.linear(_pixels(gradient), weight.flatten(1).t()).permute(0, 4, 1, 2, 3)
    made = _backward(
        gradient.flatten(3), clips.flatten(3), weight.squeeze(4), (1, 1), (shape.padding[0], 0), of="clips"
    )
    return made.view(clips.shape)


def _of_weight_in_time(gradient: Tensor, clips: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    given, num_taps = _pixels(gradient), weight.shape[2]
    placed = given.new_empty(*given.shape[:-1], num_taps, given.shape[-1])
    for tap in range(num_taps):
        _put_at_frames_read(given, tap=tap, num_taps=num_taps, out=placed[..., tap, :])
    made = placed.view(-1, num_taps * len(weight)).t() @ _pixels(clips).flatten(0, 3)
    return made.view(num_taps, len(weight), -1, 1, 1).permute(1, 2, 0, 3, 4)


def _of_clips(gradient: Tensor, clips: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """By oneDNN, which is fast there."""
    return _backward(gradient, clips, weight, (1, shape.stride, shape.stride), shape.padding, of="clips")


def _of_weight_gathered(gradient: Tensor, clips: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    given, shown, kernel, stride = _pixels(gradient), _pixels(clips), tuple(weight.shape[2:]), shape.stride
    num_outputs, num_channels = given.shape[-1], shown.shape[-1]
    num_columns = num_channels * kernel[0] * kernel[1] * kernel[2]
    num_positions = given[0, ..., 0].numel()
    num_clips = min(len(clips), max(1, _GATHERED_ELEMENTS // (num_columns * num_positions)))
    gathered = given.new_empty(num_clips * num_positions, num_columns)  # one for all parts: it stays in the cache
    made = given.new_zeros(num_outputs, num_columns)
    in_time, in_height, in_width = shape.padding
    for part, own in zip(shown.split(num_clips), given.split(num_clips), strict=True):
        padded = F.pad(part, (0, 0, in_width, in_width, in_height, in_height, in_time, in_time))
        steps = padded.stride()
        under = padded.as_strided(
            (*own.shape[:-1], *kernel, num_channels),
            (steps[0], steps[1], stride * steps[2], stride * steps[3], *steps[1:]),
        )
        rows = gathered[: len(part) * num_positions]
        rows.view(under.shape).copy_(under)
        made.addmm_(own.reshape(-1, num_outputs).t(), rows)
    return made.view(num_outputs, *kernel, num_channels).permute(0, 4, 1, 2, 3)


def _of_weight_in_images(gradient: Tensor, clips: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    given, num_taps = _pixels(gradient), weight.shape[2]
    images = _pixels(clips).flatten(0, 1).permute(0, 3, 1, 2)
    placed = given.new_empty(given.shape)  # one for all taps: it stays in the cache
    of_images = placed.flatten(0, 1).permute(0, 3, 1, 2)
    made = torch.empty_like(weight)
    for tap in range(num_taps):
        _put_at_frames_read(given, tap=tap, num_taps=num_taps, out=placed)
        stride = shape.stride, shape.stride
        made[:, :, tap] = _backward(of_images, images, weight[:, :, tap], stride, shape.padding[1:], of="weight")
    return made


_OF_WEIGHT = {
    Way.IN_TIME: _of_weight_in_time,
    Way.GATHERED: _of_weight_gathered,
    Way.IN_IMAGES: _of_weight_in_images,
}


def _backward(gradient: Tensor, clips: Tensor, weight: Tensor, stride: Kernel, padding: Kernel, *, of: str) -> Tensor:
    """torch's own gradient of "clips" or "weight", in 2D or 3D."""
    no_dilation, no_output_padding = (1,) * len(padding), (0,) * len(padding)
    mask = of == "clips", of == "weight", False
    arguments = gradient, clips, weight, None, stride, padding, no_dilation, False, no_output_padding, 1, mask
    made: Tensor = torch.ops.aten.convolution_backward(*arguments)[0 if of == "clips" else 1]
    return made
