"""Reads weight files without unpickling code: safetensors, or torch's own format with `weights_only`."""

import contextlib
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cmpl.models.resnet2d import ResNet2D, depth_of
from pipelines.errors import InputError

ACCEPTED = (
    "a .safetensors or .pth file of a 2D ResNet, of PySlowFast, MMAction2, PyTorchVideo, torchvision or of a run, a "
    "checkpoint's folder, or a run's folder"
)
WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model")
"""Names under which training programs put the weights into a file."""
SHOWN = 3
"""Classes named in a message."""


def load_image_network(source: str, *, num_classes: int = 1000, field: str) -> ResNet2D:
    """Returns a 2D ResNet-18, 34 or 50 with the weights of a file, as torchvision names them.

    Raises InputError for a file that holds no such network; `field` is the setting that names the file.
    """
    tensors = read_tensors(source, field=field)
    depth = depth_of(tensors)
    if depth is None:
        raise InputError(
            f"{field}: received {source}, which holds no ResNet-18, -34 or -50 with torchvision's names (conv1, "
            "layer1.0.conv1, ...)"
        )
    network = ResNet2D(depth=depth, num_classes=num_classes)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        why = (str(error).strip().splitlines()[1:2] or [str(error)])[0].strip()
        raise InputError(f"{field}: {source}: not a ResNet-{depth} of {num_classes} classes: {why}") from error
    return network


def read_tensors(source: str, *, field: str = "init") -> dict[str, Tensor]:
    """Reads the tensors of a weight file, or of a folder's model.safetensors, by name, on the CPU.

    Raises InputError for a file that is missing, cannot be read, or holds more or less than weights.
    """
    path = Path(source).expanduser()
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{field}: received {path}: no such file; accepted: {ACCEPTED}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = _loaded(path)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as weights ({_first_line(error)}); accepted: {ACCEPTED}") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused, it holds more than weights ({_first_line(error)}); accepted: what "
            "torch.save(model.state_dict(), ...) writes"
        ) from error
    for wrapper in WRAPPERS:
        content = content.get(wrapper, content) if isinstance(content, dict) else content
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise InputError(f"{path}: holds no tensors by name; accepted: {ACCEPTED}")
    return {str(name).removeprefix("module."): value for name, value in tensors.items()}


class _Ignored:
    """Stands for an object of any other class in a checkpoint: takes what it is given and keeps nothing."""

    def __new__(cls, *_args: object, **_named: object) -> Any:
        return object.__new__(cls)

    def __init__(self, *_args: object, **_named: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


class _IgnoredDict(_Ignored):
    """Stands for a class of dict: torch's reader sets items of plain ones alone."""

    def __new__(cls, *_args: object, **_named: object) -> Any:
        return {}


class _IgnoredList(_Ignored):
    """Stands for a class of list."""

    def __new__(cls, *_args: object, **_named: object) -> Any:
        return []


def _loaded(path: Path) -> Any:
    """What torch.save wrote, read by torch's reader of weights alone.

    Training programs put more into a file: arguments, loggers, statistics. Their classes are neither imported nor
    called: an empty object stands for each. Raises UnpicklingError for what cannot be read so.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        try:
            others = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except ValueError:  # the format before torch 1.6 does not say what it holds
            raise error from None
        for kind in (_Ignored, _IgnoredDict, _IgnoredList):
            with (
                contextlib.suppress(pickle.UnpicklingError),
                torch.serialization.safe_globals([(kind, name) for name in others]),
            ):
                return torch.load(path, map_location="cpu", weights_only=True)
        raise pickle.UnpicklingError(", ".join(sorted(others)[:SHOWN])) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
