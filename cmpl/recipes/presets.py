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


def with_preset(config: Config, name: str | None) -> Config:
    """The configuration made smaller. Raises InputError for an unknown name."""
    if name in (None, FULL):
        return config
    if name not in PRESETS:
        raise InputError(f"--preset: received {name!r}{nearest(name, (FULL, *PRESETS))}")
    return with_settings(config, {**PRESETS[name], "preset": name})


def smaller_than(crop_size: int) -> str | None:
    """The largest preset with smaller clips; None where there is none."""
    return next((name for name, settings in PRESETS.items() if int(settings["clip.crop_size"]) < crop_size), None)
