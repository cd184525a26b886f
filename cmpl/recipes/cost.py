"""What a recipe costs, as an estimate from multiply-adds: no measurement."""

import functools

from cmpl.build import method_class, network_of
from cmpl.config import Config, NetworkConfig
from cmpl.models.counting import count_multiply_adds

SUSTAINED_TFLOPS = 100.0
"""Taken for one GPU in bf16, not measured: a third of an A100's peak, a tenth of an H100's."""
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
        num_batches = config.optim.steps * config.batch.accumulate
    elif all(pool in NUM_UNLABELED_VIDEOS for pool in pools):
        num_batches = config.optim.epochs * sum(NUM_UNLABELED_VIDEOS[pool] for pool in pools) / config.batch.unlabeled
    else:
        return None
    kind = method_class(config.method.name)
    clips = kind.clips_a_video[0] * config.batch.labeled + kind.clips_a_video[1] * config.batch.unlabeled
    multiply_adds = _multiply_adds(config.primary, config.clip.primary, config.clip.crop_size)
    if kind.has_auxiliary_network:
        network = config.primary if config.method.shared_weights else config.auxiliary
        multiply_adds += _multiply_adds(network, config.clip.auxiliary, config.clip.crop_size)
    return num_batches * clips * multiply_adds * PASSES * 2 / (SUSTAINED_TFLOPS * 1e12) / 3600


@functools.cache
def _multiply_adds(network: NetworkConfig, shape: str, crop_size: int) -> int:
    import torch

    with torch.device("meta"):
        model = network_of(network, num_classes=400)
    return count_multiply_adds(model, num_frames=int(shape.split("x")[0]), crop_size=crop_size)
