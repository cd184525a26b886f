"""SGD without weight decay on BatchNorm, and the learning rate as a pure function of the step."""

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import SGD


def sgd(
    module: nn.Module, *, lr: float, momentum: float, nesterov: bool, weight_decay: float, fused: bool = False
) -> SGD:
    """SGD with momentum; weight decay on all but BatchNorm's scales and shifts.

    fused: weights, gradients and momentum are read once, in one kernel; see `aligned_gradients`.
    """
    norm = {p for m in module.modules() if isinstance(m, _NormBase) for p in m.parameters(recurse=False)}
    groups = [
        {"params": [p for p in module.parameters() if p not in norm], "weight_decay": weight_decay},
        {"params": [p for p in module.parameters() if p in norm], "weight_decay": 0.0},
    ]
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=fused)


def aligned_gradients(module: nn.Module) -> None:
    """Lays out each gradient as its parameter lies in memory: the fused update pairs them place by place, and on a CPU
    (torch 2.13) it pairs the wrong ones, in silence, where the orders differ."""
    for parameter in module.parameters():
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)


def learning_rate(step: int, *, num_steps: int, lr: float, warmup: float) -> float:
    """lr/2 (1 + cos(pi step / num_steps)), after a linear rise over the `warmup` share of training."""
    cosine = 0.5 * lr * (1 + math.cos(math.pi * step / num_steps))
    warmup_steps = warmup * num_steps
    return cosine * min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else cosine


def set_learning_rate(optimizer: SGD, lr: float) -> None:
    """Sets it for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr
