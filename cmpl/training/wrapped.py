"""The method as it is trained: on its device, compiled, averaged, and shared by ranks."""

from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cmpl.methods.method import Method
from cmpl.training.plan import TrainingPlan
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import Runtime
from cmpl.training.switches import Switches


def prepared(method: Method, plan: TrainingPlan, runtime: Runtime, ranks: Ranks, switches: Switches) -> Method:
    """The method on its device, with SyncBN and compilation where asked. (Models lay out their own weights.)"""
    torch.backends.cudnn.benchmark = switches.cudnn_benchmark
    if plan.sync_batch_norm and ranks.num_ranks > 1:
        method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
    method = method.to(runtime.device)
    if switches.compile:
        compile_networks(method, cuda_graphs=switches.cuda_graphs)
    if switches.cuda_graphs:
        keep_gradients(method)
    return method.train()


def compile_networks(method: Method, *, cuda_graphs: bool) -> None:
    """Compiles each network when it is first called; calls with other numbers of clips compile their own code."""
    options = compile_options(cuda_graphs=cuda_graphs)
    for network in {method.primary, method.auxiliary}:
        if isinstance(network, nn.Module):
            network.compile(**options)


def compile_options(*, cuda_graphs: bool) -> dict[str, Any]:
    """What torch.compile is told.

    Dropout keeps torch's generator, so that its masks are a function of the position here, too.
    """
    from torch._inductor import config as inductor  # of 200 modules, which a run without compilation does not need

    inductor.fallback_random = True
    return {"dynamic": False} | ({"mode": "reduce-overhead"} if cuda_graphs else {})


def keep_gradients(method: Method) -> None:
    """Gives every parameter a gradient of zeros in memory of its own.

    A captured backward pass writes its results to the same places each time. Were they taken over as gradients, as
    torch does where there is none, the next pass would overwrite them while they are still summed up.
    """
    for parameter in method.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


def averaged(method: Method, decay: float) -> AveragedModel | None:
    """The exponential moving average of the method's weights and buffers, or None for decay 0."""
    if decay == 0:
        return None
    return AveragedModel(method, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def shared(method: Method, *, ranks: Ranks, switches: Switches) -> nn.Module:
    """The method as all ranks train it together; alone, the method itself."""
    if ranks.num_ranks == 1:
        return method
    return DistributedDataParallel(
        method, gradient_as_bucket_view=switches.bucket_views, static_graph=switches.static_graph
    )
