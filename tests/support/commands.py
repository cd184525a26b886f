"""Words for `cmpl train` and others that make it small."""

from pathlib import Path

SMALL = (
    "clip.primary=4x4", "clip.auxiliary=8x2", "clip.crop_size=28", "clip.short_side=32", "clip.short_side_jitter=32,40",
    "primary.depth=10", "primary.width=0.125", "auxiliary.depth=10", "auxiliary.width=0.0625",
    "batch.labeled=2", "batch.unlabeled=3", "evaluation.short_side=32", "evaluation.clips=2",
    "evaluation.every_steps=0",
    "runtime.log_every_steps=1", "runtime.torch_threads=1",
)  # fmt: skip
"""Settings of networks and clips that a test can afford, for --set."""


def small(folder: Path) -> list[str]:
    """Options of a small run on a folder, on the CPU."""
    settings = [word for setting in SMALL for word in ("--set", setting)]
    return ["--dataset", str(folder), "--labeled", "1", "--device", "cpu", *settings]
