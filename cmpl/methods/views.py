"""How a network looks at the three views of a step: normalization and BatchNorm's grouping.

Legend: B_l, B_u videos; T frames; S crop side; K classes. Clips (B, 3, T, S, S) uint8.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from cmpl.models.batch_norm import statistics_apart, takes_parts

PIXEL_MEAN, PIXEL_STD = 0.45 * 255, 0.225 * 255
"""Mean and standard deviation of the field's RGB clips, here in uint8's range."""
_LOWEST = torch.tensor(-PIXEL_MEAN / PIXEL_STD)
"""What 0 is normalized to."""


@dataclass(frozen=True)
class Logits:
    """One network's answers in a step. `weak` carries no gradient (the stop-gradient of Fig. 3)."""

    labeled: Tensor  # (B_l, K)
    weak: Tensor  # (B_u, K)
    strong: Tensor  # (B_u, K)


_NARROW: ContextVar[bool] = ContextVar("narrow_clips", default=False)


def normalized(clips: Tensor) -> Tensor:
    """uint8 clips as float32 of mean 0 and deviation 1, in the same memory order.

    Within `narrow_clips` and autocast: in autocast's type, by one kernel that reads a byte and writes two. The numbers
    are those that autocast rounds float32 ones to; all 256 are tested. (Folding mean and deviation into the first
    convolution would save that kernel, too. But its padding with zeros is padding with the mean here, 114.75, which
    neither uint8 nor bf16 holds, and the borders of every clip would be off.)
    """
    kind = clips.device.type
    if _NARROW.get() and torch.is_autocast_enabled(kind):
        made = torch.empty_like(clips, dtype=torch.get_autocast_dtype(kind))
        return torch.add(_LOWEST, clips, alpha=1 / PIXEL_STD, out=made)
    return clips.float().sub_(PIXEL_MEAN).div_(PIXEL_STD)


@contextlib.contextmanager
def narrow_clips(is_on: bool) -> Iterator[None]:
    """Within it `normalized` gives autocast's type, where autocast is on."""
    token = _NARROW.set(is_on)
    try:
        yield
    finally:
        _NARROW.reset(token)


def forward_views(
    network: Callable[[Tensor], Tensor], labeled: Tensor, weak: Tensor, strong: Tensor, *, batch_norm: str
) -> Logits:
    """Logits of all three views.

    `batch_norm` says whose statistics are shared. "joint": one forward over all, the reference (FixMatch).
    "weak-no-grad": weak clips apart and without gradients, a third of the backward pass less. "separate": each apart.
    """
    sizes = [len(labeled), len(weak), len(strong)]
    if batch_norm == "joint":
        z_labeled, z_weak, z_strong = network(normalized(torch.cat([labeled, weak, strong]))).split(sizes)
        return Logits(z_labeled, z_weak.detach(), z_strong)
    with torch.no_grad():
        z_weak = network(normalized(weak))
    apart, learned = batch_norm == "separate", [sizes[0], sizes[2]]
    if apart and not (labeled.device.type == "cpu" and takes_parts(network)):
        return Logits(network(normalized(labeled)), z_weak, network(normalized(strong)))
    # Apart, too, these are the numbers of two forward passes, but for the rounding of gradients.
    with statistics_apart(learned) if apart else contextlib.nullcontext():
        z_labeled, z_strong = network(normalized(torch.cat([labeled, strong]))).split(learned)
    return Logits(z_labeled, z_weak, z_strong)
