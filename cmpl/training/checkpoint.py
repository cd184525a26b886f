"""Checkpoints: safetensors for numbers, JSON for the rest, written whole or not at all.

A checkpoint is a folder `step-00001000` with `model.safetensors` (both networks, by parameter name),
`optimizer.safetensors` (momentum by parameter name), `ema.safetensors` where there is an average, and `state.json`,
which holds the step, the sizes and SHA-256 of the others. Nothing is unpickled.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from pipelines.errors import InputError, nearest
from pipelines.files import synced, written_whole

NUM_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds; tensors by name."""

    step: int
    state: dict  # JSON values
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    ema: dict[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, best: bool = False) -> Path:
    """Writes `folder/step-N`, then removes all but the last two and the best. Seen by others only when whole."""
    target = folder / f"step-{checkpoint.step:08d}"
    draft = folder / f".{target.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    files = {}
    for name in ("model", "optimizer", "ema"):
        tensors = getattr(checkpoint, name)
        if tensors:
            path = draft / f"{name}.safetensors"
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)
            files[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    state = {"step": checkpoint.step, **checkpoint.state, "files": files}
    (draft / "state.json").write_text(json.dumps(state, indent=1))
    for path in draft.iterdir():
        synced(path)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    synced(folder)
    if best:
        with written_whole(folder / "best.json") as best_draft:
            best_draft.write_text(json.dumps({"checkpoint": target.name}))
    _remove_old(folder)
    return target


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint folder. Raises InputError where a file is missing or not what was written."""
    try:
        state = json.loads((path / "state.json").read_text())
        for name, expected in state["files"].items():
            if (path / name).stat().st_size != expected["bytes"] or _sha256(path / name) != expected["sha256"]:
                raise InputError(f"checkpoint {path / name}: not what was written; remove {path} to use an older one")

        def tensors(name: str) -> dict[str, Tensor]:
            return load_file(path / f"{name}.safetensors") if f"{name}.safetensors" in state["files"] else {}

        return Checkpoint(
            step=state["step"], state=state, model=tensors("model"), optimizer=tensors("optimizer"), ema=tensors("ema")
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"checkpoint {path}: cannot be read ({error}); remove it to use an older one") from error


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    return sorted(folder.glob("step-*"))


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the best validation so far, if validation is on."""
    try:
        path = folder / json.loads((folder / "best.json").read_text())["checkpoint"]
    except (OSError, ValueError, KeyError):
        return None
    return path if path.is_dir() else None


def chosen_checkpoint(folder: Path, which: str) -> Path:
    """The folder of the "last" or the "best" checkpoint. Raises InputError where there is none."""
    if which not in ("last", "best"):
        raise InputError(f"which: received {which!r}; accepted: last, best")
    found = best_checkpoint(folder) if which == "best" else next(iter(checkpoints(folder)[-1:]), None)
    if found is None:
        raise InputError(
            f"{folder.parent}: has no {which} checkpoint yet; `cmpl train` writes one, 'best' needs validation"
        )
    return found


def last_good_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that reads well, and a line for each newer one that does not."""
    complaints = []
    for path in reversed(checkpoints(folder)):
        try:
            return load_checkpoint(path), complaints
        except InputError as error:
            complaints.append(str(error))
    return None, complaints


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; a tensor that two names share comes once."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def momentum_tensors(module: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """SGD's momentum by parameter name."""
    buffers = {name: optimizer.state[p].get("momentum_buffer") for name, p in module.named_parameters()}
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}


def load_into(module: nn.Module, tensors: dict[str, Tensor], *, source: str) -> None:
    """Copies tensors into a module of the same names and shapes; InputError names the first that does not fit."""
    own = module_tensors(module)
    for name in own.keys() ^ tensors.keys():
        where = "is not in the model" if name in tensors else "is missing"
        raise InputError(f"{source}: {name} {where}{nearest(name, own)}")
    with torch.no_grad():
        for name, value in own.items():
            if value.shape != tensors[name].shape:
                raise InputError(
                    f"{source}: {name} has shape {tuple(tensors[name].shape)}; accepted: {tuple(value.shape)}"
                )
            value.copy_(tensors[name])


def load_evaluated(module: nn.Module, checkpoint: Checkpoint, *, source: str) -> None:
    """Copies the weights that are evaluated: the average where there is one. Raises InputError as `load_into`."""
    tensors = checkpoint.model
    if checkpoint.ema:
        tensors = {name.removeprefix("module."): value for name, value in checkpoint.ema.items()}
        tensors.pop("n_averaged")
    load_into(module, tensors, source=source)


def load_momentum(module: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Gives SGD the momentum that `momentum_tensors` named."""
    for name, parameter in module.named_parameters():
        if name in tensors:
            buffer = torch.empty_like(parameter).copy_(tensors[name])
            optimizer.state[parameter]["momentum_buffer"] = buffer


def _remove_old(folder: Path) -> None:
    kept = {*checkpoints(folder)[-NUM_KEPT:], best_checkpoint(folder)}
    for path in checkpoints(folder):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    for draft in folder.glob(".step-*"):  # of a process that was killed while writing
        shutil.rmtree(draft, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
