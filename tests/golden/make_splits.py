"""Writes splits.json: the labeled subsets of a made-up list. Run `python -m tests.golden.make_splits`."""

import json
from pathlib import Path

import numpy as np

from pipelines.datasets.labeled_subset import SCHEMES, labeled_subset

FILE = Path(__file__).with_name("splits.json")
CLASSES = ("archery", "zumba", "playing chess", "überkopf")
SIZES = (7, 150, 33, 60)
SUBSETS = ("1pct", "10pct", "2.5pct", "3")
SEEDS = (0, 1, 2)


def video_list() -> tuple[list[str], np.ndarray]:
    """Paths and labels: four classes of unequal size, then five unlabeled videos."""
    paths = [f"train/{name}/{i:03d}.mp4" for name, size in zip(CLASSES, SIZES, strict=True) for i in range(size)]
    labels = [label for label, size in enumerate(SIZES) for _ in range(size)]
    return paths + [f"unlabeled/{i}.mp4" for i in range(5)], np.array(labels + [-1] * 5)


def subsets() -> dict[str, dict[str, list[str]]]:
    """{"10pct uniform": {"0": sorted paths, ...}, ...} for every subset, scheme and seed."""
    paths, labels = video_list()

    def draw(labeled: str, scheme: str, seed: int) -> list[str]:
        drawn = labeled_subset(labeled, paths=paths, labels=labels, classes=CLASSES, split_seed=seed, scheme=scheme)
        return sorted(paths[index] for index in drawn)

    return {
        f"{labeled} {scheme}": {str(seed): draw(labeled, scheme, seed) for seed in SEEDS}
        for labeled in SUBSETS
        for scheme in SCHEMES
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(subsets(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
