"""Smaller networks and clips, for machines that the paper's setting does not fit."""

from collections.abc import Mapping

from cmpl.config import Config, with_settings
from pipelines.errors import InputError, nearest

FULL = "full"
"""The name of no preset."""

PRESETS: Mapping[str, Mapping[str, str]] = {
    "small": {  # a GPU of 8 GiB
        "clip.crop_size": "112",
        "clip.short_side": "128",
        "clip.short_side_jitter": "128,160",
        "evaluation.short_side": "128",
        "evaluation.clips": "5",
        "primary.depth": "18",
        "primary.width": "0.5",
        "auxiliary.depth": "18",
        "auxiliary.width": "0.25",
        "batch.unlabeled": "10",
    },
    "cpu": {  # a laptop: some steps a second
        "clip.primary": "4x16",
        "clip.auxiliary": "8x8",
        "clip.crop_size": "56",
        "clip.short_side": "64",
        "clip.short_side_jitter": "64,80",
        "evaluation.short_side": "64",
        "evaluation.clips": "3",
        "evaluation.crops": "1",
        "primary.depth": "10",
        "primary.width": "0.25",
        "auxiliary.depth": "10",
        "auxiliary.width": "0.125",
    },
}
"""Name -> the settings that it changes, largest first. The same proportions as the paper's, 256 : 224."""

OWN_VIDEOS: Mapping[str, Mapping[str, str]] = {
    "cpu": {  # of the recipes tried on real clips, see benchmarks/results/real_clips.md
        "clip.crop_size": "40",
        "clip.short_side": "46",
        "clip.short_side_jitter": "46,57",
        "evaluation.short_side": "46",
        "primary.stem_kernel": "3,5,5",
        "auxiliary.stem_kernel": "3,5,5",
        "primary.dropout": "0",
        "auxiliary.dropout": "0",
        "primary.zero_init_residual": "false",
        "auxiliary.zero_init_residual": "false",
        "method.threshold": "0.95",
        "method.unlabeled_weight": "1",
        "method.unlabeled_delay": "0.5",
        "method.batch_norm": "separate",
        "optim.lr": "0.02",
        "optim.nesterov": "true",
        "optim.warmup": "0.05",
        "optim.steps": "300",
        "batch.labeled": "4",
        "batch.unlabeled": "8",
    },
}
"""Name -> what the preset changes besides in the recipe `folder`: few labels, a small batch, a short first run."""


def with_preset(config: Config, name: str | None) -> Config:
    """The configuration made smaller. Raises InputError for an unknown name."""
    if name in (None, FULL):
        return config
    if name not in PRESETS:
        raise InputError(f"--preset: received {name!r}{nearest(name, (FULL, *PRESETS))}")
    own = OWN_VIDEOS.get(name, {}) if config.recipe == "folder" else {}
    return with_settings(config, {**PRESETS[name], **own, "preset": name})


def has_preset_length(config: Config) -> bool:
    """Whether a preset chose the number of steps, and nobody another one."""
    steps = OWN_VIDEOS.get(config.preset or FULL, {}).get("optim.steps")
    return config.recipe == "folder" and steps is not None and config.optim.steps == int(steps)


def smaller_than(crop_size: int) -> str | None:
    """The largest preset with smaller clips; None where there is none."""
    return next((name for name, settings in PRESETS.items() if int(settings["clip.crop_size"]) < crop_size), None)
