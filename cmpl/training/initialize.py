"""Starts networks from a 2D ResNet's ImageNet weights, inflated in time, or from any run's."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cmpl.models.weights import ACCEPTED, read_tensors
from cmpl.training.checkpoint import checkpoints, chosen_checkpoint, first_not_finite, module_tensors
from cmpl.training.identity import class_differences
from pipelines.errors import InputError

NAMES_SHOWN = 4
ABSENT, OTHER_SHAPE = "not in the file", "another shape"


@dataclass(frozen=True, kw_only=True)
class Initialized:
    """What became of every tensor of a network (or of both): by the model's names, each once."""

    source: str
    loaded: tuple[str, ...]
    kept: dict[str, str]  # name -> why it keeps its fresh value
    unused: tuple[str, ...]  # names of the file

    def lines(self) -> list[str]:
        """The same for people: counts, and what was not loaded, by name."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.kept.items():
            reasons.setdefault(why, []).append(name)
        total = len(self.loaded) + len(self.kept)
        lines = [f"initialized from {self.source}: {len(self.loaded)} of {total} tensors loaded"]
        lines += [f"  fresh ({why}): {_shown(names)}" for why, names in reasons.items()]
        return [*lines, f"  in the file, not used: {_shown(self.unused)}"] if self.unused else lines


def initialize(method: nn.Module, source: str, *, classes: Sequence[str] = ()) -> Initialized:
    """Starts a method's networks from `source`, in place, and says of every tensor what was done.

    A 2D ResNet's weights are inflated into the primary (I3D: repeated over time, divided by its length). A run's are
    taken by name, into both networks where the file has both. A head stays fresh where the run's classes are not
    `classes`, in their order, or their number differs.
    Raises InputError for a file that cannot be read, that holds numbers that are not finite, or weights of another
    width or depth.
    """
    file, known = _newest_checkpoint(source)
    tensors = read_tensors(file)
    if spoiled := first_not_finite(tensors):
        raise InputError(f"init: received {file}, whose {spoiled} holds numbers that are not finite; accepted: weights")
    own = module_tensors(method)
    inflating = "conv1.weight" in tensors and tensors["conv1.weight"].ndim == 4
    given = _inflated(tensors, into=own) if inflating else _of_a_run(tensors)
    others = class_differences(known, classes) if known and classes else []
    loaded, kept = [], {}
    with torch.no_grad():
        for name, value in own.items():
            why = _misfit(name, value, given.get(name), inflating=inflating)
            if why is None and others and _is_of_head(name):
                why = f"other {others[0]}"
            if why is None:
                fitting = _fitting(given[name], value) if inflating else given[name]
                value.copy_(fitting)
                loaded.append(name)
            else:
                kept[name] = why
    if not any(name.endswith("weight") for name in loaded):
        raise InputError(f"init: received {source}, of whose {len(tensors)} tensors none fits; accepted: {ACCEPTED}")
    _check_same_network(source, kept, own=own, given=given)
    unused = tuple(name for name in given if name not in loaded)
    return Initialized(source=source, loaded=tuple(loaded), kept=kept, unused=unused)


def _check_same_network(source: str, kept: dict[str, str], *, own: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """Raises InputError where a network would be put together from another one's parts.

    SlowFast's slow pathway alone may: it is a ResNet-50 with more channels where the fast one joins.
    """
    if "primary.slow_stem.conv.weight" in own:
        return
    for name, why in kept.items():
        network = name.partition(".")[0]
        missing = why == ABSENT and any(other.startswith(f"{network}.") for other in given)
        if not _is_of_head(name) and (why == OTHER_SHAPE or missing) and not name.endswith("num_batches_tracked"):
            found = f"shape {tuple(given[name].shape)}" if name in given else "no such tensor"
            raise InputError(
                f"init: received {source}, a network of another width or depth: {found} for {name}; accepted: "
                f"{tuple(own[name].shape)}, as in weights of the same {network}.depth and {network}.width"
            )


def _newest_checkpoint(source: str) -> tuple[str, tuple[str, ...]]:
    """A run's folder -> its newest good checkpoint, and its class names; any other source as it is."""
    folder = Path(source).expanduser() / "checkpoints"
    if not checkpoints(folder):
        return source, ()
    path, checkpoint, _ = chosen_checkpoint(folder, "last")
    return str(path), tuple(map(str, checkpoint.state.get("classes", ())))


def _of_a_run(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """By the method's names; a lone network's file is the primary's."""
    if any(name.startswith("primary.") for name in tensors):
        return tensors
    return {f"primary.{name}": value for name, value in tensors.items()}


def _inflated(tensors: dict[str, Tensor], *, into: dict[str, Tensor]) -> dict[str, Tensor]:
    """A 2D ResNet's tensors under the names of ResNet3D, or of SlowFast's slow pathway; kernels are still 2D. The
    ImageNet head keeps its name, which no network of ours has."""
    pathway = "slow_" if "primary.slow_stem.conv.weight" in into else ""
    renamed = {}
    for name, value in tensors.items():
        name = re.sub(r"^(conv1|bn1)\.", lambda m: f"stem.{m[1][:-1]}.", name)
        name = re.sub(r"^layer(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.", name)
        name = name.replace("downsample.0.", "shortcut.conv.").replace("downsample.1.", "shortcut.bn.")
        renamed[name if name.startswith("fc.") else f"primary.{pathway}{name}"] = value
    return renamed


def _fitting(value: Tensor, own: Tensor) -> Tensor:
    """A 2D kernel (O, I, kh, kw) repeated over a 3D one's T and divided by it; anything else as it is."""
    if own.ndim != 5 or value.ndim != 4:
        return value
    num_frames = own.shape[2]
    return value.unsqueeze(2).expand(-1, -1, num_frames, -1, -1) / num_frames


def _misfit(name: str, own: Tensor, value: Tensor | None, *, inflating: bool) -> str | None:
    """Why a tensor cannot be taken, or None where it can."""
    if value is None:
        return ABSENT
    expected = tuple(own.shape)
    if inflating and own.ndim == 5:
        expected = expected[:2] + expected[3:]
    if tuple(value.shape) != expected:
        if _is_of_head(name) and value.shape[0] != expected[0]:
            return f"another number of classes: {value.shape[0]} there, {expected[0]} here"
        return OTHER_SHAPE
    return None


def _is_of_head(name: str) -> bool:
    return name.split(".")[1:2] == ["head"]


def _shown(names: Iterable[str]) -> str:
    names = list(names)
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
