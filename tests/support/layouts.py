"""How a network's activations lie in memory."""

import torch
from torch import nn


def outputs_not_channels_last(net: nn.Module, clips: torch.Tensor) -> list[str]:
    found = []
    for name, module in net.named_modules():

        def check(_module, _inputs, output, name=name):
            if output.dim() == 5 and not output.is_contiguous(memory_format=torch.channels_last_3d):
                found.append(name)

        module.register_forward_hook(check)
    net(clips)
    return found
