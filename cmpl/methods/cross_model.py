"""Cross-Model Pseudo-Labeling (Sec. 3.2): two networks of different capacity teach each other."""

from dataclasses import dataclass

from torch import Tensor

from cmpl.checks import one_of
from cmpl.methods.equations import (
    SCHEMES,
    label_distributions,
    pseudo_labels,
    supervised_loss,
    total_loss,
    unsupervised_loss,
)
from cmpl.methods.method import Method, Terms, probabilities, pseudo_label_terms
from cmpl.methods.settings import ThreeViewSettings
from cmpl.methods.views import Logits, forward_views, normalized
from pipelines.batch import LabeledBatch, SemiBatch
from pipelines.errors import InputError
from pipelines.plan.geometry import ClipShape


class CrossModel(Method):
    """F, the primary backbone, and A, the auxiliary network, each taught by `scheme` (Appendix A).

    The two switches of Table 6 take A's supervised or unsupervised loss out. `auxiliary` may be `primary` itself
    (Table 3: shared weights).
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(ThreeViewSettings):
        """Who teaches whom, and which losses train A."""

        scheme: str = "cross"
        """Pseudo-labeling scheme (Appendix A): cross, self-first, opposite-first, maximum or average."""
        auxiliary_supervised: bool = True
        auxiliary_unsupervised: bool = True
        """Table 6: which losses train the auxiliary network."""
        shared_weights: bool = False
        """Table 3, second row: the primary network is its own auxiliary."""

        @property
        def shares_networks(self) -> bool:
            return self.shared_weights

        def check(self) -> None:
            super().check()
            one_of("method.scheme", self.scheme, SCHEMES)
            if not (self.auxiliary_supervised or self.auxiliary_unsupervised):
                raise InputError(
                    "method.auxiliary_supervised and method.auxiliary_unsupervised: received false for both, so "
                    "nothing would train the auxiliary network; accepted: at least one true, or method.name=fixmatch"
                )

    settings: Settings
    has_auxiliary_network = True
    offsets_auxiliary_clip = True
    trains_all_parameters = True

    @staticmethod
    def auxiliary_shape(primary: ClipShape, auxiliary: ClipShape) -> ClipShape:
        return auxiliary

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        if unlabeled_weight == 0:
            return self._supervised(batch.labeled)
        F, A = self._logits(batch, "primary"), self._logits(batch, "auxiliary")
        y = batch.labeled.labels
        settings, tau = self.settings, self.settings.threshold
        p_F, p_A = probabilities(F.weak), probabilities(A.weak)
        self.answers = {"primary": p_F, "auxiliary": p_A}
        l_F, l_A = label_distributions(p_F, p_A, scheme=settings.scheme, tau=tau)
        y_hat_F, confident_F = pseudo_labels(l_F, tau)  # what F learns
        y_hat_A, confident_A = pseudo_labels(l_A, tau)  # what A learns

        L_s_F = supervised_loss(F.labeled, y)  # Eq. 2
        L_s_A = supervised_loss(A.labeled, y) * settings.auxiliary_supervised  # Eq. 3
        L_u_F = unsupervised_loss(F.strong, y_hat_F, confident_F)  # Eq. 4
        L_u_A = unsupervised_loss(A.strong, y_hat_A, confident_A) * settings.auxiliary_unsupervised  # Eq. 5
        L = total_loss(L_s_F, L_s_A, L_u_F, L_u_A, lambda_=unlabeled_weight)  # Eq. 6

        terms = {
            "loss_supervised_primary": L_s_F.detach(),
            "loss_supervised_auxiliary": L_s_A.detach(),
            "loss_unsupervised_primary": L_u_F.detach(),
            "loss_unsupervised_auxiliary": L_u_A.detach(),
        }
        assert batch.unlabeled is not None
        truth = batch.unlabeled.truth
        terms |= pseudo_label_terms("primary", y_hat_F, confident_F, truth)
        return L, terms | pseudo_label_terms("auxiliary", y_hat_A, confident_A, truth)

    def _logits(self, batch: SemiBatch, network: str) -> Logits:
        labeled, unlabeled = batch.labeled, batch.unlabeled
        assert unlabeled is not None
        return forward_views(
            getattr(self, network),
            getattr(labeled.standard, network),
            getattr(unlabeled.weak, network),
            getattr(unlabeled.strong, network),
            batch_norm=self.settings.batch_norm,
        )

    def _supervised(self, labeled: LabeledBatch) -> tuple[Tensor, Terms]:
        """Eq. 2 and 3 alone, before the unlabeled losses are switched on."""
        assert self.auxiliary is not None
        assert labeled.standard.auxiliary is not None
        L_s_F = supervised_loss(self.primary(normalized(labeled.standard.primary)), labeled.labels)
        L_s_A = supervised_loss(self.auxiliary(normalized(labeled.standard.auxiliary)), labeled.labels)
        L_s_A = L_s_A * self.settings.auxiliary_supervised
        return L_s_F + L_s_A, {
            "loss_supervised_primary": L_s_F.detach(),
            "loss_supervised_auxiliary": L_s_A.detach(),
        }
