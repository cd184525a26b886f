"""The demo data set: the path of Kinetics, small enough for two CPU cores."""

import dataclasses

from cmpl.config import (
    BatchConfig,
    ClipConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimConfig,
    RuntimeConfig,
    differences,
)
from cmpl.registries import method_settings

LABELS_ALONE = (0.604, 10)
"""Mean top-1 of supervised training on the demo's labels, and over how many labeled subsets: a measured figure, that of
LABELS_ALONE_SOURCE; a test compares them."""
LABELS_ALONE_SOURCE = "benchmarks/results/method_check_cpu.json"


def demo(labeled: str = "1") -> Config:
    """CMPL with two small 3D-ResNets on ten classes of moving shapes, one labeled video a class.

    Lengths are the paper's divided by about nine (256 : 224 becomes 28 : 24). A clip is four frames of half a second,
    and t_s spans the video, so that the two networks mostly see different shots, and labels cross from one to the
    other. The strong view leaves hue alone, since hue is much of what tells the classes apart.
    """
    network = NetworkConfig(depth=10, width=0.25, stem_kernel=(3, 5, 5), dropout=0.0, zero_init_residual=False)
    return Config(
        recipe="demo",
        data=DataConfig(dataset="demo", labeled=labeled),
        clip=ClipConfig(
            primary="4x2",
            auxiliary="4x2",
            max_offset_seconds=10.0,
            crop_size=24,
            short_side=28,
            short_side_jitter=(28, 35),
            strong_ops=("rotate", "shear_x", "shear_y", "brightness", "contrast", "sharpness", "posterize"),
        ),
        primary=network,
        auxiliary=dataclasses.replace(network, width=0.125),
        method=method_settings("cmpl", unlabeled_weight=2.0, unlabeled_delay=0.25, batch_norm="separate"),
        optim=OptimConfig(lr=0.05, nesterov=True, weight_decay=1e-3, warmup=0.05, steps=1600),
        batch=BatchConfig(labeled=4, unlabeled=20),
        # Training takes a minute: quick validations on the way would take half of that again.
        evaluation=EvaluationConfig(clips=5, crops=1, short_side=28, every_steps=0),
        runtime=RuntimeConfig(log_every_steps=20, checkpoint_every_steps=200),
    )


def labels_alone(config: Config) -> str | None:
    """The line that says what the demo's labels give without unlabeled videos; None where nothing comparable was
    measured: for other settings than the recipe's, apart from method, seeds and machine."""
    if config.method.name == "supervised" or config.data.root is not None:
        return None
    if differences(demo(), dataclasses.replace(config, method=demo().method), without=("seed", "data.split_seed")):
        return None
    top1, num_subsets = LABELS_ALONE
    over = f"mean of {num_subsets} labeled subsets" if num_subsets > 1 else "one labeled subset"
    return f"The labels alone give {top1:.0%} (supervised, as many steps; {over}, {LABELS_ALONE_SOURCE})."
