"""A method of one's own: both views of an unlabeled video shall look the same.

Run it: `cmpl train --plugin examples/own_method.py --method consistency --set method.temperature=0.4 --dataset demo`
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

import cmpl
from cmpl.bounds import Within
from cmpl.methods.equations import supervised_loss
from cmpl.methods.views import normalized
from pipelines.batch import SemiBatch


@cmpl.register_method("consistency")
class Consistency(cmpl.Method):
    """L = L_s + lambda |softmax(z_strong) - softmax(z_weak / T)|^2, T the temperature."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(cmpl.MethodSettings):
        temperature: Annotated[float, Within(0, low_excluded=True)] = 0.5

    settings: Settings

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, cmpl.Terms]:
        L_s = supervised_loss(self.primary(normalized(batch.labeled.standard.primary)), batch.labeled.labels)
        if batch.unlabeled is None or unlabeled_weight == 0:
            return L_s, {"loss_supervised_primary": L_s.detach()}
        z_weak = self.primary(normalized(batch.unlabeled.weak.primary)).detach()
        p_strong = torch.softmax(self.primary(normalized(batch.unlabeled.strong.primary)), dim=1)
        L_u = (p_strong - torch.softmax(z_weak / self.settings.temperature, dim=1)).square().sum(dim=1).mean()
        terms = {"loss_supervised_primary": L_s.detach(), "loss_unsupervised_primary": L_u.detach()}
        return L_s + unlabeled_weight * L_u, terms
