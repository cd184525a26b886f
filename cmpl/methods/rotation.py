"""S4L on videos (Zhai et al. 2019, Table 1): classes of the labeled clips, rotations of all of them.

Legend: B_l, B_u videos; T frames; S crop side; K classes; z logits, r rotation classes 0 to 3 (0, 90, 180, 270
degrees).
"""

import torch
from torch import Tensor, nn

from cmpl.methods.equations import supervised_loss
from cmpl.methods.method import Method, Terms
from cmpl.methods.settings import MethodSettings
from cmpl.methods.views import normalized
from cmpl.models.backbone import Backbone
from pipelines.batch import SemiBatch

NUM_ROTATIONS = 4


class S4L(Method):
    """L = L_class + w/2 (L_rot^u + L_rot^l), w = `unlabeled_weight`: a second head on the same trunk says by how much
    each clip was turned. Unlabeled clips are the weak ones; the network is evaluated on clips as they are."""

    clips_a_video = (4.0, 4.0)
    calls_networks_whole = False
    trains_all_parameters = True

    def __init__(self, *, primary: Backbone, settings: MethodSettings | None = None) -> None:
        super().__init__(primary=primary, settings=settings)
        self.rotation_head = nn.Linear(primary.num_features, NUM_ROTATIONS)
        nn.init.normal_(self.rotation_head.weight, std=0.01)
        nn.init.zeros_(self.rotation_head.bias)

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        labeled, y = batch.labeled.standard.primary, batch.labeled.labels
        clips = rotations(labeled)
        if unlabeled_weight > 0:  # one forward over both: BatchNorm's statistics are shared
            assert batch.unlabeled is not None
            clips = torch.cat([clips, rotations(batch.unlabeled.weak.primary)])
        features = self.primary.features(normalized(clips))  # (4 (B_l + B_u), num_features)
        z_rotation = self.rotation_head(features)
        num_labeled = NUM_ROTATIONS * len(labeled)
        z = self.primary.head(self.primary.dropout(features[:num_labeled]))

        L_class = supervised_loss(z, y.repeat(NUM_ROTATIONS))
        L_rot_l = rotation_loss(z_rotation[:num_labeled])
        terms = {"loss_supervised_primary": L_class.detach(), "loss_rotation_labeled": L_rot_l.detach()}
        if unlabeled_weight == 0:
            return L_class + 0 * L_rot_l, terms  # the head still takes part: ranks wait for its gradient
        L_rot_u = rotation_loss(z_rotation[num_labeled:])
        terms["loss_unsupervised_primary"] = L_rot_u.detach()
        return L_class + unlabeled_weight / 2 * (L_rot_u + L_rot_l), terms


def rotations(clips: Tensor) -> Tensor:
    """(B, 3, T, S, S) -> (4 B, 3, T, S, S) in channels_last_3d: all clips by 0 degrees, then all by 90, 180, 270; every
    frame of a clip by the same angle."""
    turned = [torch.rot90(clips, k, dims=(3, 4)) for k in range(NUM_ROTATIONS)]
    return torch.cat(turned).contiguous(memory_format=torch.channels_last_3d)


def rotation_loss(z: Tensor) -> Tensor:
    """Mean of H(r, z) over clips and rotations. z (4 B, 4) in the order of `rotations`."""
    r = torch.arange(NUM_ROTATIONS, device=z.device).repeat_interleave(len(z) // NUM_ROTATIONS)
    return supervised_loss(z, r)
