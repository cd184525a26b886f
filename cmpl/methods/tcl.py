"""Temporal Contrastive Learning (Singh et al. 2021, Table 1): one network sees a video at two speeds.

Legend: N = B_u unlabeled videos, K classes; z logits, p = softmax(z); f fast view (the primary clip), s slow view
(half of its frames over the same span: the auxiliary clip); T temperature.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmpl.bounds import Within
from cmpl.methods.equations import pseudo_labels, supervised_loss, unsupervised_loss
from cmpl.methods.method import Method, Terms, probabilities, pseudo_label_terms
from cmpl.methods.settings import PseudoLabelSettings
from cmpl.methods.views import normalized
from pipelines.batch import SemiBatch
from pipelines.plan.geometry import ClipShape

TEMPERATURE = 0.5


class TCL(Method):
    """L = L_s + gamma L_instance + L_group, and in the last `finetune_share` of training + gamma_ft L_pseudo.

    gamma is `unlabeled_weight`, and warm-up with L_s alone its delay. The slow view learns from the fast one, which
    carries no gradient in L_instance and L_group. Both are of the weak clips. Videos of one rank alone are contrasted.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(PseudoLabelSettings):
        """The last phase of training."""

        finetune_share: Annotated[float, Within(0, 1)] = 0.2
        """The last share of training, in which pseudo-labels count."""
        finetune_weight: Annotated[float, Within(0)] = 1.0
        """gamma_ft, weight of the pseudo-labels there."""

        @property
        def pseudo_labels_from(self) -> float | None:
            is_learned = self.unlabeled_weight > 0 and self.finetune_weight > 0 and self.finetune_share > 0
            return max(self.unlabeled_delay, 1 - self.finetune_share) if is_learned else None

    settings: Settings
    clips_a_video = (1.0, 1.5)
    trains_all_parameters = True

    @staticmethod
    def auxiliary_shape(primary: ClipShape, auxiliary: ClipShape) -> ClipShape:
        return dataclasses.replace(primary, num_frames=max(1, primary.num_frames // 2), stride=2 * primary.stride)

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        labeled, y = batch.labeled.standard.primary, batch.labeled.labels
        if unlabeled_weight == 0:
            L_s = supervised_loss(self.primary(normalized(labeled)), y)
            return L_s, {"loss_supervised_primary": L_s.detach()}
        assert batch.unlabeled is not None
        weak, truth = batch.unlabeled.weak, batch.unlabeled.truth
        assert weak.auxiliary is not None
        z = self.primary(normalized(torch.cat([labeled, weak.primary])))
        z_l, z_f = z.split([len(labeled), len(weak)])
        z_s = self.primary(normalized(weak.auxiliary))
        p_f, p_s = probabilities(z_f), torch.softmax(z_s.float(), dim=1)
        self.answers = {"primary": p_f}

        L_s = supervised_loss(z_l, y)
        L_instance = simclr_loss(p_f, p_s)
        L_group = group_loss(p_f, p_s)
        L = L_s + unlabeled_weight * L_instance + L_group
        y_hat, confident = pseudo_labels(p_f, self.settings.threshold)
        terms = {
            "loss_supervised_primary": L_s.detach(),
            "loss_unsupervised_primary": L_instance.detach(),
            "loss_group_primary": L_group.detach(),
        }
        if progress >= 1 - self.settings.finetune_share:
            L_pseudo = unsupervised_loss(z_f, y_hat, confident)
            L = L + self.settings.finetune_weight * L_pseudo
            terms["loss_pseudo_primary"] = L_pseudo.detach()
        return L, terms | pseudo_label_terms("primary", y_hat, confident, truth)


def simclr_loss(p_f: Tensor, p_s: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean over the 2N rows a of -log (exp(cos(a, a') / T) / sum over b != a of exp(cos(a, b) / T)), a' being a's
    partner of the other view. p_f, p_s (N, K). `present` (N,) bool leaves the other pairs out; 0 where none is left.
    """
    num_pairs = len(p_f)
    if present is None:
        present = torch.ones(num_pairs, dtype=torch.bool, device=p_f.device)
    out = functional.normalize(torch.cat([p_f, p_s]).float(), dim=1, eps=1e-8)
    similarity = _product(out, out.T) / TEMPERATURE  # (2N, 2N)
    index = torch.arange(2 * num_pairs, device=out.device)
    both = present.repeat(2)
    partners = similarity[index, index.roll(num_pairs)]
    # -inf in a row that is left out would make its gradient NaN: such rows keep all columns and weigh nothing.
    left_out = (index[:, None] == index) | (both[:, None] & ~both)
    losses = torch.logsumexp(similarity.masked_fill(left_out, float("-inf")), dim=1) - partners
    return (losses * both).sum() / both.sum().clamp(min=1)


def group_loss(p_f: Tensor, p_s: Tensor) -> Tensor:
    """simclr_loss between the groups' means, not below 0: a group is the videos of one arg max in a view, and counts
    where both views have it. p_f, p_s (N, K)."""
    means_f, in_f = _groups(p_f)
    means_s, in_s = _groups(p_s)
    return simclr_loss(means_f, means_s, in_f & in_s).clamp(min=0)


def _groups(p: Tensor) -> tuple[Tensor, Tensor]:
    """Mean p of each arg max class (K, K), row by row, and which classes there are (K,). No wait for the device."""
    member = functional.one_hot(p.argmax(dim=1), p.shape[1]).to(p.dtype)  # (N, K)
    sizes = member.sum(dim=0)
    return _product(member.T, p) / sizes.clamp(min=1)[:, None], sizes > 0


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b in float32, also where the networks run in fewer bits: cosines near 1 are told apart here."""
    with torch.autocast(a.device.type, enabled=False):
        return a.float() @ b.float()
