"""How a training step may be computed, as fields of the configuration. Torch is not imported."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cmpl.checks import one_of

CHOICES = ("auto", "on", "off")


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """Switches that change how long a step takes and, at most, how its sums are rounded; each auto, on or off.

    What "auto" comes to depends on the device: see training/switches.py. The run says it once.
    """

    compile: str = "auto"
    """torch.compile for the networks. auto: on a GPU where a short trial of the step says that it pays."""
    cuda_graphs: str = "auto"
    """CUDA graphs of the compiled networks. auto: where the trial says that they pay."""
    cudnn_benchmark: str = "auto"
    """Whether cuDNN tries its algorithms on the first steps. auto: on a GPU."""
    fused_sgd: str = "auto"
    """Whether the update of all weights is one kernel. auto: on."""
    narrow_clips: str = "auto"
    """Whether clips are normalized straight into autocast's type, in one kernel. auto: on a GPU with autocast."""
    bucket_views: str = "auto"
    """Whether gradients lie where ranks exchange them, in place of a copy. auto: on several ranks."""
    static_graph: str = "auto"
    """Whether ranks rely on the same parameters having gradients in every step. auto: off."""

    def check_switches(self) -> None:
        """Raises InputError for the first switch that is none of the choices."""
        for name in SWITCHES:
            one_of(f"runtime.{name}", getattr(self, name), CHOICES)


SWITCHES = tuple(item.name for item in dataclasses.fields(StepConfig))


def of_older_version(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `runtime` section of a config.json in which `compile` may be true or false, as earlier versions wrote it."""
    compile = values.get("compile")
    return {**values, "compile": "on" if compile else "off"} if isinstance(compile, bool) else dict(values)
