"""Sizes of a network: parameters and multiply-adds."""

import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module) -> int:
    """Learned numbers, BatchNorm's and biases included; running statistics are not."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, *, num_frames: int, crop_size: int) -> int:
    """Multiply-adds of convolutions and linear layers for one clip (1, 3, num_frames, crop_size, crop_size).

    Counts a bias, BatchNorm, activations and pools as nothing, as papers do. Runs on the meta device: no
    arithmetic is done, and the model is left as it was.
    """
    total = 0
    counted = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

    def add(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, counted)
        total += output.numel() * module.weight[0].numel()  # each output is a dot product with one filter

    # What counts as nothing is passed over: on the meta device BatchNorm takes most of the time.
    passed_over = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for module in passed_over:
        module.forward = _as_it_is  # type: ignore[assignment]
    handles = [module.register_forward_hook(add) for module in model.modules() if isinstance(module, counted)]
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    tensors = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    clip = torch.empty(1, 3, num_frames, crop_size, crop_size, device="meta")
    try:
        with torch.no_grad():
            torch.func.functional_call(model, tensors, (clip.to(memory_format=torch.channels_last_3d),))
    finally:
        for handle in handles:
            handle.remove()
        for module in passed_over:
            del module.forward
    return total


def _as_it_is(values: Tensor) -> Tensor:
    return values
