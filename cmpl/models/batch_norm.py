"""BatchNorm that can take statistics of parts of a batch, each for itself, in one forward pass.

The other layers then run once over all parts, in larger products: on a CPU a fifth of a step's time.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_SIZES: ContextVar[tuple[int, ...]] = ContextVar("clips_of_parts", default=())


@contextlib.contextmanager
def statistics_apart(sizes: Sequence[int]) -> Iterator[None]:
    """Within it, each `BatchNorm2d` and `BatchNorm3d` of this module that is in training splits its batch.

    sizes: clips of each part, in the batch's order; running statistics take the parts up in this order. A layer that
    sees several images of a clip as a batch splits it likewise.
    """
    token = _SIZES.set(tuple(sizes))
    try:
        yield
    finally:
        _SIZES.reset(token)


def takes_parts(network: object) -> bool:
    """Whether all BatchNorms of a network are of this module, and it is not compiled."""
    if not isinstance(network, nn.Module) or network._compiled_call_impl is not None:
        return False
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return bool(layers) and all(isinstance(layer, _InParts) for layer in layers)


class _InParts(_BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        normalize = super().forward
        if not self.training or torch.compiler.is_compiling() or not (sizes := _SIZES.get()):
            return normalize(input)
        images_a_clip = len(input) // sum(sizes)
        return torch.cat([normalize(part) for part in input.split([images_a_clip * size for size in sizes])])


class BatchNorm2d(_InParts, nn.BatchNorm2d):
    """torch's, but for `statistics_apart`."""


class BatchNorm3d(_InParts, nn.BatchNorm3d):
    """torch's, but for `statistics_apart`."""
