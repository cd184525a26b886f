"""FixMatch whose pseudo-label comes from another clip of the video: a control that has CMPL's clips and one network."""

from torch import Tensor

from cmpl.methods.equations import pseudo_labels, supervised_loss, unsupervised_loss
from cmpl.methods.fixmatch import FixMatch
from cmpl.methods.method import Terms, probabilities, pseudo_label_terms
from cmpl.methods.views import forward_views, normalized
from pipelines.batch import SemiBatch
from pipelines.plan.geometry import ClipShape


class Elsewhere(FixMatch):
    """The weak clip starts up to `clip.max_offset_seconds` from the strong one, as CMPL's two clips do.

    Not in the paper. What it gains over FixMatch is due to the place of the clips alone.
    """

    offsets_auxiliary_clip = True

    @staticmethod
    def auxiliary_shape(primary: ClipShape, auxiliary: ClipShape) -> ClipShape:
        return primary

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        labeled, unlabeled = batch.labeled, batch.unlabeled
        if unlabeled_weight == 0:
            L_s = supervised_loss(self.primary(normalized(labeled.standard.primary)), labeled.labels)
            return L_s, {"loss_supervised_primary": L_s.detach()}
        assert unlabeled is not None
        assert unlabeled.weak.auxiliary is not None
        z = forward_views(
            self.primary,
            labeled.standard.primary,
            unlabeled.weak.auxiliary,
            unlabeled.strong.primary,
            batch_norm=self.settings.batch_norm,
        )
        L_s = supervised_loss(z.labeled, labeled.labels)
        y_hat, confident = pseudo_labels(probabilities(z.weak), self.settings.threshold)
        L_u = unsupervised_loss(z.strong, y_hat, confident)
        terms = {"loss_supervised_primary": L_s.detach(), "loss_unsupervised_primary": L_u.detach()}
        return L_s + unlabeled_weight * L_u, terms | pseudo_label_terms("primary", y_hat, confident, unlabeled.truth)
