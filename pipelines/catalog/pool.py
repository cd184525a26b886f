"""The usable videos that one stream draws from, column by column."""

from dataclasses import dataclass

import numpy as np

from pipelines.catalog.manifest import Manifest
from pipelines.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """N videos in plain arrays, so that a worker receives them in one cheap pickle."""

    paths: tuple[str, ...]  # absolute
    labels: np.ndarray  # (N,) int64, -1 where the class is unknown
    num_frames: np.ndarray  # (N,) int64
    fps: np.ndarray  # (N,) float64
    width: np.ndarray  # (N,) int64, pixels
    height: np.ndarray  # (N,) int64, pixels
    exact_seek: np.ndarray  # (N,) bool: decoding may start at a keyframe
    codings: tuple[str, ...]  # codec and pixel format, such as "h264 yuv420p": those that there are
    coding: np.ndarray  # (N,) int64, index into codings

    def __post_init__(self) -> None:
        if not self.paths:
            raise InputError("pool: received no usable video; accepted: at least one")
        for name in ("labels", "num_frames", "fps", "width", "height", "exact_seek", "coding"):
            column = getattr(self, name)
            if column.shape != (len(self.paths),):
                raise ValueError(f"pool.{name}: received shape {column.shape}; accepted: ({len(self.paths)},)")

    def __len__(self) -> int:
        return len(self.paths)

    def coding_of(self, video: int) -> str:
        """Returns codec and pixel format of a video, such as "h264 yuv420p"."""
        return self.codings[self.coding[video]]


def pool_of(*selections: tuple[Manifest, np.ndarray]) -> Pool:
    """Joins the videos `indices` of each (manifest, indices). Videos with a problem must not be selected."""

    def column(name: str, dtype: type) -> np.ndarray:
        parts = [np.asarray(getattr(manifest, name))[indices] for manifest, indices in selections]
        return np.concatenate(parts).astype(dtype)

    names = [" ".join(coding) for manifest, _ in selections for coding in manifest.codings]
    before = np.cumsum([0] + [len(manifest.codings) for manifest, _ in selections])
    shifted = [m.facts["coding"][indices] + first for (m, indices), first in zip(selections, before, strict=False)]
    used, coding = np.unique(np.concatenate(shifted), return_inverse=True)
    return Pool(
        paths=tuple(f"{manifest.root}/{manifest.paths[i]}" for manifest, indices in selections for i in indices),
        labels=column("labels", np.int64),
        num_frames=column("num_frames", np.int64),
        fps=column("fps", np.float64),
        width=column("width", np.int64),
        height=column("height", np.int64),
        exact_seek=column("exact_seek", np.bool_),
        codings=tuple(names[index] for index in used),
        coding=coding.astype(np.int64),
    )
