"""Multiview Pseudo-Labeling (Xiong et al. 2021, Table 1): one network sees several views of a clip.

The views are RGB, the temporal gradient and, where it is asked for, optical flow.

Legend: M = 2 or 3 views (RGB, gradient, flow); B_l, B_u videos; T frames; S crop side; K classes; z logits.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from cmpl.checks import one_of
from cmpl.methods.equations import pseudo_labels, supervised_loss, unsupervised_loss
from cmpl.methods.method import Method, Terms, pseudo_label_terms
from cmpl.methods.settings import ThreeViewSettings
from cmpl.methods.views import forward_views, normalized
from pipelines.batch import ClipBatch, SemiBatch
from pipelines.plan.geometry import ClipShape

VIEW_LABELS = ("average", "exclude-self")


class MvPL(Method):
    """L = mean over views of L_s + lambda times the mean over views of L_u.

    `view_labels` says whose logits teach a view: "average" those of all views, "exclude-self" those of the others.
    The auxiliary clip holds each frame of the primary's with the video's frame before it: gradient and flow are those
    of neighbors. Evaluated on RGB alone.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(ThreeViewSettings):
        """What teaches a view, and whether there is a third one."""

        view_labels: str = "average"
        """average (all views' logits), or exclude-self (those of the others)."""
        flow: bool = False
        """Optical flow as a third view: by the optical-flow unit of an NVIDIA GPU (Turing and later), or without a GPU
        by OpenCV, which the extra `flow` installs."""

        @property
        def wants_flow(self) -> bool:
            return self.flow

        def check(self) -> None:
            super().check()
            one_of("method.view_labels", self.view_labels, VIEW_LABELS)

    settings: Settings
    clips_a_video = (2.0, 4.0)
    trains_all_parameters = True

    @staticmethod
    def auxiliary_shape(primary: ClipShape, auxiliary: ClipShape) -> ClipShape:
        return dataclasses.replace(primary, num_frames=2 * primary.num_frames, pairs=True)

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        labeled = views(batch.labeled.standard)
        num_views = len(labeled) // len(batch.labeled.labels)
        y = batch.labeled.labels.repeat(num_views)
        if unlabeled_weight == 0:
            L_s = supervised_loss(self.primary(normalized(labeled)), y)
            return L_s, {"loss_supervised_primary": L_s.detach()}
        assert batch.unlabeled is not None
        weak, strong, truth = views(batch.unlabeled.weak), views(batch.unlabeled.strong), batch.unlabeled.truth
        z = forward_views(self.primary, labeled, weak, strong, batch_norm=self.settings.batch_norm)
        l = view_distributions(z.weak, num_views=num_views, view_labels=self.settings.view_labels)  # noqa: E741 (the symbol of equations.py)
        y_hat, confident = pseudo_labels(l, self.settings.threshold)  # (M B_u,)

        L_s = supervised_loss(z.labeled, y)
        L_u = unsupervised_loss(z.strong, y_hat, confident)
        terms = {"loss_supervised_primary": L_s.detach(), "loss_unsupervised_primary": L_u.detach()}
        terms |= pseudo_label_terms("primary", y_hat, confident, truth.repeat(num_views))
        return L_s + unlabeled_weight * L_u, terms


def views(clips: ClipBatch) -> Tensor:
    """All views one after another (M B, 3, T, S, S) uint8: RGB of all videos, their temporal gradient, their flow."""
    assert clips.auxiliary is not None
    seen = [clips.primary, temporal_gradient(clips.auxiliary)]
    return torch.cat(seen if clips.flow is None else [*seen, clips.flow])


def temporal_gradient(pairs: Tensor) -> Tensor:
    """uint8((previous - current + 255) / 2) of each pair of frames, rounded down: (B, 3, 2 T, S, S) -> T frames.
    No change is 127."""
    wide = pairs.to(torch.int16)
    return ((wide[:, :, ::2] - wide[:, :, 1::2] + 255) // 2).to(torch.uint8)


def view_distributions(z_weak: Tensor, *, num_views: int, view_labels: str) -> Tensor:
    """l (M B_u, K): what each view is taught by, the softmax of the mean of the views' logits z_weak (M B_u, K)."""
    z = z_weak.detach().float().unflatten(0, (num_views, -1))  # (M, B_u, K)
    total = z.sum(dim=0, keepdim=True)
    if view_labels == "average":
        mean = (total / num_views).expand_as(z)
    elif view_labels == "exclude-self":
        mean = (total - z) / (num_views - 1)
    else:
        raise ValueError(f"view_labels: received {view_labels!r}; accepted: average, exclude-self")
    return torch.softmax(mean, dim=2).flatten(0, 1)
