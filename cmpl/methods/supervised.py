"""Supervised: the labeled videos alone (the paper's first baseline)."""

from torch import Tensor

from cmpl.methods.equations import supervised_loss
from cmpl.methods.method import Method, Terms
from cmpl.methods.views import normalized
from pipelines.batch import SemiBatch


class Supervised(Method):
    """L = L_s (Eq. 2)."""

    uses_unlabeled = False
    clips_a_video = (1.0, 0.0)
    trains_all_parameters = True
    compared_with = "cmpl"

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        loss = supervised_loss(self.primary(normalized(batch.labeled.standard.primary)), batch.labeled.labels)
        return loss, {"loss_supervised_primary": loss.detach()}
