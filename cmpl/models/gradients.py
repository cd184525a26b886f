"""Gradients of a convolution on a CPU as matrix products: oneDNN's own take several times as long for small pictures.

oneDNN computes the gradient of a weight picture by picture, one small product each. Here it is one large product over
all positions of a part of the batch. Only rounding differs: the same sums in another order.

Shapes: B clips, C and N channels, T frames, H x W pixels; activations lie in memory as (B, T, H, W, C).
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

_GATHERED_ELEMENTS = 1 << 19
"""Most numbers of pixels under a kernel that are gathered at a time: 2 MB, which the cache holds."""
_FEW_CHANNELS, _MANY_CHANNELS = 8, 64
_FEW_PIXELS, _SOME_PIXELS = 4, 64

Kernel = tuple[int, ...]


def pays(clips: Tensor, *, kernel: Kernel, stride: int) -> bool:
    """Whether these gradients are faster than oneDNN's, as `python -m benchmarks.training.convolution` finds.

    For float32 on a CPU alone; never for a pointwise kernel, which is one product anyway.
    """
    if clips.device.type != "cpu" or clips.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    channels, (time, height, width) = clips.shape[1], kernel
    if channels < _FEW_CHANNELS or time == height == width == 1:
        return False
    num_pixels = (clips.shape[3] // stride) * (clips.shape[4] // stride)
    return time > 1 or num_pixels <= _FEW_PIXELS or (channels >= _MANY_CHANNELS and num_pixels <= _SOME_PIXELS)


class Products(torch.autograd.Function):
    """A convolution `forward(clips, weight)`, at a stride in height and width alone, with gradients by products."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        clips: Tensor,
        weight: Tensor,
        forward: Callable[[Tensor, Tensor], Tensor],
        stride: int,
        padding: Kernel,
    ) -> Tensor:
        ctx.save_for_backward(clips, weight)
        ctx.stride, ctx.padding = stride, padding  # type: ignore[attr-defined]  # as torch has it
        return forward(clips, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:  # type: ignore[no-untyped-def]
        clips, weight = ctx.saved_tensors
        wants_clips, wants_weight = ctx.needs_input_grad[:2]
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        of_clips = of_weight = None
        if weight.shape[3:] == (1, 1) and ctx.stride == 1:
            if wants_clips:
                of_clips = _of_clips_in_time(gradient, weight)
            if wants_weight:
                of_weight = _of_weight_in_time(gradient, clips, num_taps=weight.shape[2])
        else:
            if wants_clips:
                of_clips = _of_clips(gradient, clips, weight, stride=ctx.stride, padding=ctx.padding)
            if wants_weight:
                kernel = tuple(weight.shape[2:])
                of_weight = _of_weight(gradient, clips, kernel=kernel, stride=ctx.stride, padding=ctx.padding)
        return of_clips, of_weight, None, None, None


def _pixels(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, T, H, W, C), as it lies in memory."""
    return clips.permute(0, 2, 3, 4, 1)


def _taps(num_taps: int, num_frames: int) -> Iterator[tuple[int, slice, slice]]:
    """Each tap of a kernel in time, with the frames of the result that it takes part in and those that it reads."""
    for tap in range(num_taps):
        step = tap - num_taps // 2
        first, end = max(0, -step), min(num_frames, num_frames - step)
        if first < end:
            yield tap, slice(first, end), slice(first + step, end + step)


def _of_clips_in_time(gradient: Tensor, weight: Tensor) -> Tensor:
    """The clips' gradient under a k x 1 x 1 kernel, which keeps the number of frames."""
    given, taps = _pixels(gradient), weight[..., 0, 0].unbind(2)  # (N, C) each
    made = given.new_empty(*given.shape[:-1], weight.shape[1])
    middle = len(taps) // 2
    torch.matmul(given, taps[middle], out=made)
    for tap, written, read in _taps(len(taps), gradient.shape[2]):
        if tap != middle:
            part = made[:, read].flatten(1, 3)
            part.baddbmm_(given[:, written].flatten(1, 3), taps[tap].expand(len(given), -1, -1))
    return made.permute(0, 4, 1, 2, 3)


def _of_weight_in_time(gradient: Tensor, clips: Tensor, *, num_taps: int) -> Tensor:
    """The gradient of a k x 1 x 1 kernel."""
    given, shown = _pixels(gradient), _pixels(clips)
    made = given.new_zeros(given.shape[-1], num_taps, shown.shape[-1])
    for tap, written, read in _taps(num_taps, clips.shape[2]):
        products = torch.bmm(given[:, written].flatten(1, 3).transpose(1, 2), shown[:, read].flatten(1, 3))
        torch.sum(products, 0, out=made[:, tap])
    return made[:, :, None, None].permute(0, 4, 1, 2, 3)


def _of_clips(gradient: Tensor, clips: Tensor, weight: Tensor, *, stride: int, padding: Kernel) -> Tensor:
    """The clips' gradient by oneDNN, which is fast there."""
    arguments = gradient, clips, weight, None, (1, stride, stride), padding, (1, 1, 1), False, (0, 0, 0), 1
    made: Tensor = torch.ops.aten.convolution_backward(*arguments, (True, False, False))[0]
    return made


def _of_weight(gradient: Tensor, clips: Tensor, *, kernel: Kernel, stride: int, padding: Kernel) -> Tensor:
    """The gradient of any kernel: gathers the pixels under it at each position, then one product."""
    given, shown = _pixels(gradient), _pixels(clips)
    num_outputs, num_channels = given.shape[-1], shown.shape[-1]
    num_columns = num_channels * kernel[0] * kernel[1] * kernel[2]
    num_clips = max(1, _GATHERED_ELEMENTS // (num_columns * given[0, ..., 0].numel()))
    made = given.new_zeros(num_outputs, num_columns)
    in_time, in_height, in_width = padding
    for part, own in zip(shown.split(num_clips), given.split(num_clips), strict=True):
        padded = F.pad(part, (0, 0, in_width, in_width, in_height, in_height, in_time, in_time))
        steps = padded.stride()
        under = padded.as_strided(
            (*own.shape[:-1], *kernel, num_channels),
            (steps[0], steps[1], stride * steps[2], stride * steps[3], *steps[1:]),
        )
        made.addmm_(own.reshape(-1, num_outputs).t(), under.reshape(-1, num_columns))
    return made.view(num_outputs, *kernel, num_channels).permute(0, 4, 1, 2, 3)
