"""Reads weight files without unpickling code: safetensors, or torch's own format with `weights_only`."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cmpl.models.resnet2d import ResNet2D, depth_of
from pipelines.errors import InputError

ACCEPTED = "a .safetensors or .pth file of a 2D ResNet or of a run, a checkpoint's folder, or a run's folder"


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
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as weights ({_first_line(error)}); accepted: {ACCEPTED}") from error
    except Exception as error:  # torch raises pickle's errors for what it refuses to unpickle
        raise InputError(
            f"{path}: refused, it holds more than weights; accepted: what torch.save(model.state_dict(), ...) writes"
        ) from error
    for wrapper in ("state_dict", "model_state", "model"):
        content = content.get(wrapper, content) if isinstance(content, dict) else content
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise InputError(f"{path}: holds no tensors by name; accepted: {ACCEPTED}")
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
