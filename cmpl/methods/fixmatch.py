"""FixMatch on videos (Sec. 3.1, Eq. 1): a network teaches itself."""

from torch import Tensor

from cmpl.methods.equations import pseudo_labels, supervised_loss, unsupervised_loss
from cmpl.methods.method import Method, Terms, probabilities, pseudo_label_terms
from cmpl.methods.settings import ThreeViewSettings
from cmpl.methods.views import forward_views, normalized
from pipelines.batch import SemiBatch, UnlabeledBatch


class FixMatch(Method):
    """L = L_s + lambda L_u: the confident prediction on the weak view is the class of the strong view."""

    Settings = ThreeViewSettings
    settings: ThreeViewSettings
    trains_all_parameters = True

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        labeled, unlabeled = batch.labeled, batch.unlabeled
        if unlabeled_weight == 0:
            L_s = supervised_loss(self.primary(normalized(labeled.standard.primary)), labeled.labels)
            return L_s, {"loss_supervised_primary": L_s.detach()}
        assert unlabeled is not None
        z = forward_views(
            self.primary,
            labeled.standard.primary,
            self.taught_by(unlabeled),
            unlabeled.strong.primary,
            batch_norm=self.settings.batch_norm,
        )
        L_s = supervised_loss(z.labeled, labeled.labels)
        p = probabilities(z.weak)
        self.answers = {"primary": p}
        y_hat, confident = pseudo_labels(p, self.settings.threshold)
        L_u = unsupervised_loss(z.strong, y_hat, confident)
        terms = {"loss_supervised_primary": L_s.detach(), "loss_unsupervised_primary": L_u.detach()}
        return L_s + unlabeled_weight * L_u, terms | pseudo_label_terms("primary", y_hat, confident, unlabeled.truth)

    def taught_by(self, unlabeled: UnlabeledBatch) -> Tensor:
        """The clips (B_u, 3, T, S, S) that pseudo-labels are made of: the weak view of the clip that learns them."""
        return unlabeled.weak.primary
