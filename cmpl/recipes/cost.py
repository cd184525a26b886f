"""What a recipe costs, as an estimate from multiply-adds and one measured rate."""

import functools
from typing import cast

import torch
from torch import nn

from cmpl.build import network_of
from cmpl.config import Config, NetworkConfig
from cmpl.methods.settings import MethodSettings
from cmpl.models.counting import count_multiply_adds
from cmpl.registries import method_class

SUSTAINED_TFLOPS = 33.0
"""What an H100 did in CMPL's step at the paper's sizes, 2 + 10 videos, bf16, not compiled
(benchmarks/results/gpu_suite_h100.json). A twentieth of what it did in a large matrix product."""
NUM_UNLABELED_VIDEOS = {"k400": 240_436, "ucf101": 9_537}
"""Training videos of the data sets whose size is known beforehand."""
PASSES = 3
"""Multiply-adds of forward and backward, in those of the forward pass."""


def gpu_hours(config: Config) -> float | None:
    """GPU-hours of training (evaluation and decoding left out), or None where the length is not known beforehand.

    Multiply-adds of all clips of all steps x 3 passes x 2 operations, at SUSTAINED_TFLOPS.
    """
    pools = [config.data.dataset] + ([config.data.unlabeled] if config.data.unlabeled else [])
    if config.optim.steps is not None:
        num_batches = float(config.optim.steps * config.batch.accumulate)
    elif all(pool in NUM_UNLABELED_VIDEOS for pool in pools):
        num_batches = config.optim.epochs * sum(NUM_UNLABELED_VIDEOS[pool] for pool in pools) / config.batch.unlabeled
    else:
        return None
    labeled, unlabeled = passes_a_video(config.method)
    passes = labeled * config.batch.labeled + unlabeled * config.batch.unlabeled
    return num_batches * passes * multiply_adds(config, num_classes=400) * 2 / (SUSTAINED_TFLOPS * 1e12) / 3600


def passes_a_video(settings: MethodSettings) -> tuple[float, float]:
    """The work of a labeled and of an unlabeled video, in forward passes of one clip through all networks.

    A backward pass counts as two forward ones. A weak clip that needs no gradient counts once.
    """
    kind = method_class(settings.name)
    labeled, unlabeled = (PASSES * clips for clips in kind.clips_a_video)
    if kind.uses_unlabeled and not settings.weak_has_gradient:
        unlabeled -= PASSES - 1
    return labeled, unlabeled


def multiply_adds(config: Config, *, num_classes: int) -> int:
    """Multiply-adds of one clip's forward pass through all networks that the method trains."""
    kind, crop_size = method_class(config.method.name), config.clip.crop_size
    total = _multiply_adds(config.primary, config.clip.primary, crop_size, num_classes)
    if kind.has_auxiliary_network:
        network = config.primary if config.method.shares_networks else config.auxiliary
        total += _multiply_adds(network, config.clip.auxiliary, crop_size, num_classes)
    return total


@functools.cache
def _multiply_adds(network: NetworkConfig, shape: str, crop_size: int, num_classes: int) -> int:
    with torch.device("meta"):
        model = network_of(network, num_classes=num_classes)
    return count_multiply_adds(cast(nn.Module, model), num_frames=int(shape.split("x")[0]), crop_size=crop_size)
