"""What a method is: networks, settings, and a forward pass from a batch to a loss and its terms."""

import torch
from torch import Tensor, nn

from cmpl.methods.settings import MethodSettings
from cmpl.models.backbone import Backbone
from pipelines.batch import SemiBatch
from pipelines.plan.geometry import ClipShape

Terms = dict[str, Tensor]
"""Scalars to log, on the device, without gradients."""


class Method(nn.Module):
    """Base of all methods. `primary` is the network that is evaluated; `auxiliary` is None where there is one only.

    A method knows nothing of ranks, autocast, schedules or logging. What the builders ask, it says as class attributes
    and in its settings. (After the tasks of timm.)
    """

    Settings: type[MethodSettings] = MethodSettings
    """The method's own fields of the configuration's `method` section, as a frozen dataclass."""
    uses_unlabeled = True
    has_auxiliary_network = False
    offsets_auxiliary_clip = False
    """Whether a video's second clip may start `clip.max_offset_seconds` away from the first, or starts with it."""
    clips_a_video = (1.0, 2.0)
    """Primary clips that go forward and backward for a labeled and for an unlabeled video: what a cost estimate
    counts."""
    calls_networks_whole = True
    """Whether networks are called as a whole: only then does compiling them change anything."""
    trains_all_parameters = False
    """Whether every parameter gets a gradient in every step, also before the unlabeled losses are switched on."""
    compared_with = "supervised"
    """The method that is proposed for comparison after a run."""

    @staticmethod
    def auxiliary_shape(primary: ClipShape, auxiliary: ClipShape) -> ClipShape | None:
        """The shape of a second clip of each video (`batch.*.auxiliary`), made of the configuration's two; None:
        there is none."""
        return None

    def __init__(
        self, *, primary: Backbone, auxiliary: Backbone | None = None, settings: MethodSettings | None = None
    ) -> None:
        super().__init__()
        self.primary = primary
        self.auxiliary = auxiliary
        self.settings = settings or self.Settings()
        self.answers: dict[str, Tensor] = {}
        """Class probabilities (B_u, K) of each network on the weak views of the last forward pass, without a gradient.
        For records alone: empty where a method does not say, and before unlabeled clips are looked at."""

    def begin_training(self) -> None:
        """Reads what training alone needs; called once before a run's first or next step.

        Raises InputError where that cannot be had."""

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        """The loss to descend and its terms.

        unlabeled_weight: lambda at this step; at 0 unlabeled clips are not looked at. progress: the share of training
        that is done, 0 to 1.
        """
        raise NotImplementedError


def pseudo_label_terms(name: str, y_hat: Tensor, confident: Tensor, truth: Tensor) -> Terms:
    """Shares of all B_u videos, by the labels that teach network `name` (Fig. 2): the confident ones, the confident
    ones whose truth is known, and the right ones. y_hat, confident, truth (B_u,)."""
    judged = confident & (truth >= 0)
    return {
        f"pseudo_share_{name}": confident.float().mean(),
        f"pseudo_judged_{name}": judged.float().mean(),
        f"pseudo_right_{name}": (judged & (y_hat == truth)).float().mean(),
    }


def probabilities(z: Tensor) -> Tensor:
    """p = softmax(z) in float32, without a gradient."""
    return torch.softmax(z.detach().float(), dim=1)
