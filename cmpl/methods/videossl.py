"""VideoSSL (Jing et al. 2021, Table 1): an ImageNet classifier sees one frame and teaches the clip.

Legend: B_l, B_u videos; T frames; S crop side; K classes; z logits; q the ImageNet classifier's probabilities, J = 1000
classes.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from cmpl.methods.equations import pseudo_labels, supervised_loss, unsupervised_loss
from cmpl.methods.method import Method, Terms, probabilities, pseudo_label_terms
from cmpl.methods.settings import FILE, PseudoLabelSettings
from cmpl.methods.views import normalized
from cmpl.models.backbone import Backbone
from cmpl.models.resnet2d import ResNet2D
from cmpl.models.weights import load_image_network
from pipelines.batch import SemiBatch
from pipelines.errors import InputError


class VideoSSL(Method):
    """L = L_s + w (L_pseudo + L_distill), w = `unlabeled_weight`.

    L_pseudo: the network's own confident classes of the weak clips, learned on the same clips. L_distill, over labeled
    and weak clips: a second head of J classes matches the teacher's probabilities on one frame of the clip, drawn from
    torch's generator. `teacher` is a file of ImageNet weights, read when training begins; it is no part of checkpoints,
    and evaluation does without it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(PseudoLabelSettings):
        """The teacher."""

        teacher: str | None = field(default=None, metadata=FILE)
        """File of a 2D ResNet's ImageNet weights with torchvision's names, .pth or .safetensors."""

        def check(self) -> None:
            super().check()
            if self.teacher is None:
                raise InputError(
                    "method.teacher: received none, but videossl learns from an ImageNet classifier; accepted: a file "
                    "of a 2D ResNet's weights with torchvision's names, such as resnet18-f37072fd.pth or "
                    "resnet50-0676ba61.pth from download.pytorch.org/models"
                )

    settings: Settings
    clips_a_video = (1.0, 1.0)
    calls_networks_whole = False
    trains_all_parameters = True

    def __init__(self, *, primary: Backbone, settings: Settings, num_image_classes: int = 1000) -> None:
        super().__init__(primary=primary, settings=settings)
        self.image_head = nn.Linear(primary.num_features, num_image_classes)
        nn.init.normal_(self.image_head.weight, std=0.01)
        nn.init.zeros_(self.image_head.bias)
        self._teacher: tuple[ResNet2D, ...] = ()  # in a tuple, so that it is neither saved nor trained nor averaged

    def begin_training(self) -> None:
        """Reads the teacher. Raises InputError for a file that is no ImageNet ResNet."""
        self.settings.check()
        num_image_classes = self.image_head.out_features
        teacher = load_image_network(str(self.settings.teacher), num_classes=num_image_classes, field="method.teacher")
        self._teacher = (teacher.requires_grad_(False).eval(),)

    def forward(self, batch: SemiBatch, *, unlabeled_weight: float, progress: float = 0.0) -> tuple[Tensor, Terms]:
        labeled, y = batch.labeled.standard.primary, batch.labeled.labels
        clips = labeled
        if unlabeled_weight > 0:
            assert batch.unlabeled is not None
            clips = torch.cat([labeled, batch.unlabeled.weak.primary])
        features = self.primary.features(normalized(clips))
        z = self.primary.head(self.primary.dropout(features))
        z_l, z_u = z[: len(labeled)], z[len(labeled) :]
        L_s = supervised_loss(z_l, y)
        L_distill = distillation_loss(self.image_head(features), self.teacher_probabilities(random_frames(clips)))
        terms = {"loss_supervised_primary": L_s.detach(), "loss_distillation_primary": L_distill.detach()}
        if unlabeled_weight == 0:
            return L_s + 0 * L_distill, terms  # the head still takes part: ranks wait for its gradient
        assert batch.unlabeled is not None
        p = probabilities(z_u)
        self.answers = {"primary": p}
        y_hat, confident = pseudo_labels(p, self.settings.threshold)
        L_pseudo = unsupervised_loss(z_u, y_hat, confident)
        terms["loss_unsupervised_primary"] = L_pseudo.detach()
        terms |= pseudo_label_terms("primary", y_hat, confident, batch.unlabeled.truth)
        return L_s + unlabeled_weight * (L_pseudo + L_distill), terms

    @torch.no_grad()
    def teacher_probabilities(self, images: Tensor) -> Tensor:
        """q (B, J) of uint8 images (B, 3, S, S)."""
        if not self._teacher:
            self.begin_training()
        return probabilities(self._teacher[0].to(images.device)(images))


def random_frames(clips: Tensor) -> Tensor:
    """One frame of each clip (B, 3, T, S, S) -> (B, 3, S, S), uniformly, from torch's generator."""
    b, _, t = clips.shape[:3]
    index = torch.arange(b, device=clips.device)
    return clips[index, :, torch.randint(t, (b,), device=clips.device)]


def distillation_loss(z: Tensor, q: Tensor) -> Tensor:
    """Mean over B of H(q, softmax(z)) = - sum_j q_j log softmax(z)_j. z, q (B, J)."""
    return functional.cross_entropy(z.float(), q)
