"""The typed batches that go from the pipeline to a method (leaf).

Legend: B videos, T frames, H = W crop side, K classes. Clips are uint8 (B, 3, T, H, W) in channels_last_3d memory:
the decoder's B, T, H, W, 3 order, seen through a permutation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """One view of B videos, as each network sees it."""

    primary: Tensor  # (B, 3, T_primary, H, W) uint8
    auxiliary: Tensor | None = None  # (B, 3, T_auxiliary, H, W) uint8; None where no method asks for it
    flow: Tensor | None = None  # (B, 3, T_auxiliary / 2, H, W) uint8; None where no method asks for it

    def __post_init__(self) -> None:
        for name in ("primary", "auxiliary", "flow"):
            clip = getattr(self, name)
            if clip is not None and (clip.ndim != 5 or clip.shape[1] != 3):
                raise ValueError(f"{name}: expected (B, 3, T, H, W), got {tuple(clip.shape)}")
            if clip is not None and clip.shape[0] != len(self):
                raise ValueError(f"{name}: expected {len(self)} videos, got {clip.shape[0]}")

    def __len__(self) -> int:
        return self.primary.shape[0]


@dataclass(frozen=True, kw_only=True)
class LabeledBatch:
    """T_standard of B_l labeled videos and their classes."""

    standard: ClipBatch
    labels: Tensor  # (B_l,) int64, 0 to K - 1

    def __post_init__(self) -> None:
        if tuple(self.labels.shape) != (len(self.standard),):
            raise ValueError(f"labels: expected ({len(self.standard)},), got {tuple(self.labels.shape)}")


@dataclass(frozen=True, kw_only=True)
class UnlabeledBatch:
    """T_weak and T_strong of B_u unlabeled videos.

    `truth` and `videos` serve metrics and records alone: no loss may look at them.
    """

    weak: ClipBatch
    strong: ClipBatch
    truth: Tensor  # (B_u,) int64, -1 where unknown
    videos: tuple[int, ...] = ()  # (B_u,) index of each in its pool; empty where nobody asks

    def __post_init__(self) -> None:
        sizes = (("strong", len(self.strong)), ("truth", self.truth.shape[0]), ("videos", len(self.videos)))
        for name, got in sizes:
            if got != len(self.weak) and not (name == "videos" and got == 0):
                raise ValueError(f"{name}: expected {len(self.weak)} videos, got {got}")


@dataclass(frozen=True, kw_only=True)
class SemiBatch:
    """What one micro-step of one rank learns from. `unlabeled` is None for a supervised method."""

    labeled: LabeledBatch
    unlabeled: UnlabeledBatch | None = None

    @property
    def num_videos(self) -> int:
        return len(self.labeled.standard) + (len(self.unlabeled.weak) if self.unlabeled else 0)
