"""What a method is: networks, and a forward pass from a batch to a loss and its terms (after timm's tasks)."""

import torch
from torch import Tensor, nn

from pipelines.batch import SemiBatch

Terms = dict[str, Tensor]
"""Scalars to log, on the device, without gradients."""


class Method(nn.Module):
    """Base of all methods. `primary` is the network that is evaluated; `auxiliary` is None where there is one only.

    A method knows nothing of ranks, autocast, schedules or logging.
    """

    settings: tuple[str, ...] = ()
    """Fields of the configuration's `method` section that the constructor takes, by name."""
    uses_unlabeled = True
    has_auxiliary_network = False
    offsets_auxiliary_clip = False
    """Whether a video's second clip may start `clip.max_offset_seconds` away from the first, or starts with it."""
    can_see_flow = False
    """Whether `method.flow` may add the optical flow of the second clip as a view of its own."""
    clips_a_video = (1.0, 2.0)
    """Primary clips that go forward and backward for a labelled and for an unlabelled video: what a cost estimate
    counts."""

    @staticmethod
    def auxiliary_shape(primary, auxiliary):
        """The shape of a second clip of each video (`batch.*.auxiliary`), made of the configuration's two; None:
        there is none. All are pipelines.plan.geometry.ClipShape."""
        return None

    def __init__(self, *, primary: nn.Module, auxiliary: nn.Module | None = None) -> None:
        super().__init__()
        self.primary = primary
        self.auxiliary = auxiliary

    def begin_training(self) -> None:
        """Called once before a run's first or next step: reads what training alone needs. Raises InputError where that
        cannot be had."""

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        """The loss to descend and its terms. `unlabeled_weight` is lambda at this step; at 0 unlabelled clips are
        not looked at. `progress` is the share of training that is done, 0 to 1."""
        raise NotImplementedError


def pseudo_label_terms(name: str, y_hat: Tensor, confident: Tensor, truth: Tensor) -> Terms:
    """Of the labels that teach network `name`, as shares of all B_u videos: the confident ones, the confident ones
    whose truth is known, and the right ones (Fig. 2). y_hat, confident, truth (B_u,)."""
    judged = confident & (truth >= 0)
    return {
        f"pseudo_share_{name}": confident.float().mean(),
        f"pseudo_judged_{name}": judged.float().mean(),
        f"pseudo_right_{name}": (judged & (y_hat == truth)).float().mean(),
    }


def probabilities(z: Tensor) -> Tensor:
    """p = softmax(z) in float32, without a gradient."""
    return torch.softmax(z.detach().float(), dim=1)
