"""Cross-Model Pseudo-Labeling (Sec. 3.2): two networks of different capacity teach each other."""

from torch import Tensor, nn

from cmpl.methods.equations import (
    label_distributions,
    pseudo_labels,
    supervised_loss,
    total_loss,
    unsupervised_loss,
)
from cmpl.methods.method import Method, Terms, probabilities, pseudo_label_terms
from cmpl.methods.views import Logits, forward_views, normalized
from pipelines.batch import LabeledBatch, SemiBatch


class CrossModel(Method):
    """F, the primary backbone, and A, the auxiliary network, each taught by `scheme` (Appendix A).

    The two switches of Table 6 take A's supervised or unsupervised loss out. `auxiliary` may be `primary` itself
    (Table 3: shared weights).
    """

    settings = ("threshold", "scheme", "auxiliary_supervised", "auxiliary_unsupervised", "batch_norm")
    has_auxiliary_network = True
    offsets_auxiliary_clip = True

    @staticmethod
    def auxiliary_shape(primary, auxiliary):
        return auxiliary

    def __init__(
        self,
        *,
        primary: nn.Module,
        auxiliary: nn.Module,
        threshold: float,
        scheme: str = "cross",
        auxiliary_supervised: bool = True,
        auxiliary_unsupervised: bool = True,
        batch_norm: str = "joint",
    ) -> None:
        super().__init__(primary=primary, auxiliary=auxiliary)
        self.threshold = threshold
        self.scheme = scheme
        self.auxiliary_supervised = auxiliary_supervised
        self.auxiliary_unsupervised = auxiliary_unsupervised
        self.batch_norm = batch_norm

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        if unlabeled_weight == 0:
            return self._supervised(batch.labeled)
        F, A = self._logits(batch, "primary"), self._logits(batch, "auxiliary")
        y = batch.labeled.labels
        p_F, p_A = probabilities(F.weak), probabilities(A.weak)
        l_F, l_A = label_distributions(p_F, p_A, scheme=self.scheme, tau=self.threshold)
        y_hat_F, confident_F = pseudo_labels(l_F, self.threshold)  # what F learns
        y_hat_A, confident_A = pseudo_labels(l_A, self.threshold)  # what A learns

        L_s_F = supervised_loss(F.labeled, y)  # Eq. 2
        L_s_A = supervised_loss(A.labeled, y) * self.auxiliary_supervised  # Eq. 3
        L_u_F = unsupervised_loss(F.strong, y_hat_F, confident_F)  # Eq. 4
        L_u_A = unsupervised_loss(A.strong, y_hat_A, confident_A) * self.auxiliary_unsupervised  # Eq. 5
        L = total_loss(L_s_F, L_s_A, L_u_F, L_u_A, lambda_=unlabeled_weight)  # Eq. 6

        terms = {
            "loss_supervised_primary": L_s_F.detach(),
            "loss_supervised_auxiliary": L_s_A.detach(),
            "loss_unsupervised_primary": L_u_F.detach(),
            "loss_unsupervised_auxiliary": L_u_A.detach(),
        }
        truth = batch.unlabeled.truth
        terms |= pseudo_label_terms("primary", y_hat_F, confident_F, truth)
        return L, terms | pseudo_label_terms("auxiliary", y_hat_A, confident_A, truth)

    def _logits(self, batch: SemiBatch, network: str) -> Logits:
        labeled, unlabeled = batch.labeled, batch.unlabeled
        return forward_views(
            getattr(self, network),
            getattr(labeled.standard, network),
            getattr(unlabeled.weak, network),
            getattr(unlabeled.strong, network),
            batch_norm=self.batch_norm,
        )

    def _supervised(self, labeled: LabeledBatch) -> tuple[Tensor, Terms]:
        """Eq. 2 and 3 alone, before the unlabelled losses are switched on."""
        L_s_F = supervised_loss(self.primary(normalized(labeled.standard.primary)), labeled.labels)
        L_s_A = supervised_loss(self.auxiliary(normalized(labeled.standard.auxiliary)), labeled.labels)
        L_s_A = L_s_A * self.auxiliary_supervised
        return L_s_F + L_s_A, {
            "loss_supervised_primary": L_s_F.detach(),
            "loss_supervised_auxiliary": L_s_A.detach(),
        }
