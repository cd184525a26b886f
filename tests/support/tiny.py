"""Networks small enough to follow by hand, and clips and batches for them."""

import torch
from torch import nn

from cmpl.models.convolution import Convolution
from cmpl.models.resnet2d import ResNet2D
from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch

K = 4
NUM_FEATURES = 6


class Trunk(nn.Module):
    """Features of the mean color of the left half and of the right half: turning a clip changes them."""

    num_features = NUM_FEATURES

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.dropout = nn.Identity()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(NUM_FEATURES, K)
            nn.init.normal_(self.head.weight, std=4.0)

    def features(self, clips):
        half = clips.shape[4] // 2
        return torch.cat([clips[..., :half].mean(dim=(2, 3, 4)), clips[..., half:].mean(dim=(2, 3, 4))], dim=1)

    def forward(self, clips):
        return self.head(self.dropout(self.features(clips)))


class Linear(nn.Module):
    """Mean color -> logits, sharp enough to be confident at times."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(3, K)
            nn.init.normal_(self.head.weight, std=4.0)

    def forward(self, clips):
        return self.head(clips.mean(dim=(2, 3, 4)))


class Small(nn.Module):
    """A convolution, BatchNorm, dropout and a head: all that a compiler may get wrong, and quick to compile."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Convolution(3, 6, kernel=(3, 1, 1))
        self.bn = nn.BatchNorm3d(6)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(6, 4)

    def forward(self, clips):
        return self.head(self.dropout(torch.relu(self.bn(self.conv(clips))).mean(dim=(2, 3, 4))))


def clips(num_videos: int, num_frames: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shade = torch.randint(0, 256, (num_videos, 3, 1, 1, 1), generator=generator)
    return shade.expand(-1, -1, num_frames, 5, 5).to(torch.uint8)


def noise(num_videos: int, num_frames: int, seed: int) -> torch.Tensor:
    """Clips (B, 3, T, 6, 6) uint8: in each quarter of each video a color of its own, and a little noise."""
    generator = torch.Generator().manual_seed(seed)
    shade = torch.randint(20, 236, (num_videos, 3, 1, 2, 2), generator=generator)
    grain = torch.randint(-20, 20, (num_videos, 3, num_frames, 6, 6), generator=generator)
    return (shade.repeat_interleave(3, dim=3).repeat_interleave(3, dim=4) + grain).to(torch.uint8)


def batch(*, primary_frames: int = 4, auxiliary_frames: int | None = None) -> SemiBatch:
    """Three labeled and eight unlabeled videos."""

    def view(num_videos: int, seed: int) -> ClipBatch:
        second = None if auxiliary_frames is None else noise(num_videos, auxiliary_frames, seed + 1)
        return ClipBatch(primary=noise(num_videos, primary_frames, seed), auxiliary=second)

    return SemiBatch(
        labeled=LabeledBatch(standard=view(3, 0), labels=torch.tensor([0, 1, 3])),
        unlabeled=UnlabeledBatch(weak=view(8, 10), strong=view(8, 20), truth=torch.tensor([0, 1, 2, 3, -1, 0, 1, 2])),
    )


def cross_entropy(logits, target) -> float:
    """-sum_k t_k log softmax(z)_k in plain floats; `target` a class or probabilities."""
    import math

    z = [float(value) for value in logits]
    top = max(z)
    log_sum = top + math.log(sum(math.exp(value - top) for value in z))
    weights = [float(k == target) for k in range(len(z))] if isinstance(target, int) else [float(t) for t in target]
    return sum(weight * (log_sum - value) for weight, value in zip(weights, z, strict=True))


def softmax(logits) -> list[float]:
    """In plain floats."""
    import math

    z = [float(value) for value in logits]
    exponentials = [math.exp(value - max(z)) for value in z]
    return [value / sum(exponentials) for value in exponentials]


def image_network(depth: int, num_classes: int = 7) -> ResNet2D:
    """A 2D network with random weights and running statistics that matter, the same for the same depth."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(depth)
        network = ResNet2D(depth=depth, num_classes=num_classes).eval()
        for name, value in network.named_buffers():
            if "running" in name:
                nn.init.uniform_(value, 0.5, 1.5) if "var" in name else nn.init.normal_(value, std=0.1)
    return network
