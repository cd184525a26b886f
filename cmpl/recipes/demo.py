"""The demo data set: the path of Kinetics, small enough for two CPU cores."""

from cmpl.config import (
    BatchConfig,
    ClipConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimConfig,
    RuntimeConfig,
)
from cmpl.registries import method_settings


def demo(labeled: str = "2") -> Config:
    """CMPL with two small 3D-ResNets on ten classes of moving shapes, two labeled videos a class.

    Lengths are the paper's divided by eight (256 : 224 becomes 32 : 28). The strong view leaves hue alone, since
    half of what tells the classes apart is hue.
    """
    return Config(
        recipe="demo",
        data=DataConfig(dataset="demo", labeled=labeled),
        clip=ClipConfig(
            primary="4x16",
            auxiliary="8x8",
            max_offset_seconds=0.5,
            crop_size=28,
            short_side=32,
            short_side_jitter=(32, 40),
            strong_ops=("rotate", "shear_x", "shear_y", "brightness", "contrast", "sharpness", "posterize"),
        ),
        primary=NetworkConfig(depth=10, width=0.25, stem_kernel=(3, 5, 5), dropout=0.0, zero_init_residual=False),
        auxiliary=NetworkConfig(depth=10, width=0.125, stem_kernel=(3, 5, 5), dropout=0.0, zero_init_residual=False),
        method=method_settings("cmpl", unlabeled_weight=2.0, unlabeled_delay=0.25, batch_norm="separate"),
        optim=OptimConfig(lr=0.05, nesterov=True, weight_decay=1e-3, warmup=0.05, steps=1600),
        batch=BatchConfig(labeled=4, unlabeled=20),
        evaluation=EvaluationConfig(short_side=32),
        runtime=RuntimeConfig(log_every_steps=20, checkpoint_every_steps=200),
    )
