"""Checkpoints: safetensors for numbers, JSON for the rest, written whole or not at all.

A checkpoint is a folder `step-00001000` with `model.safetensors` (both networks, by parameter name),
`optimizer.safetensors` (momentum by parameter name), `ema.safetensors` where there is an average, and `state.json`,
which holds the step, the sizes and SHA-256 of the others, and a SHA-256 of itself. Nothing is unpickled.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from pipelines.errors import InputError, nearest
from pipelines.files import synced

NUM_KEPT = 2
BROKEN = "broken-"
"""What the name of a checkpoint that was set aside begins with."""
_PARTS = ("model", "optimizer", "ema")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds; tensors by name."""

    step: int
    state: dict[str, Any]  # JSON values; `best_step` is the step of the best validation so far
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    ema: dict[str, Tensor]


def checkpoint_at(folder: Path, step: int) -> Path:
    """The checkpoint of a step, whether it is there or not."""
    return folder / f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step of a checkpoint's folder."""
    return int(path.name.removeprefix("step-"))


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes `folder/step-N`, then removes all but the last two and the best. Seen by others only when whole.

    Raises InputError where it cannot be written; the older ones stay, and no draft.
    """
    target = checkpoint_at(folder, checkpoint.step)
    draft = folder / f".{target.name}.{os.getpid()}"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        files = {}
        for name in _PARTS:
            tensors = getattr(checkpoint, name)
            if tensors:
                path = draft / f"{name}.safetensors"
                save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)
                files[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        state = {"step": checkpoint.step, **checkpoint.state, "files": files}
        (draft / "state.json").write_text(json.dumps({**state, "sha256": _checksum(state)}, indent=1))
        for path in draft.iterdir():
            synced(path)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        synced(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{target}: cannot be written ({reason}); the older checkpoints are whole, and the same command goes on "
            "from the last of them once there is room"
        ) from error
    _remove_old(folder, best_step=checkpoint.state.get("best_step"))
    return target


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint folder.

    Raises InputError where a file is missing, is not what was written, or holds numbers that are not finite.
    """
    try:
        state = _state_of(path)
        for name, expected in state["files"].items():
            if (path / name).stat().st_size != expected["bytes"] or _sha256(path / name) != expected["sha256"]:
                raise InputError(f"checkpoint {path / name}: not what was written")

        def tensors(name: str) -> dict[str, Tensor]:
            return load_file(path / f"{name}.safetensors") if f"{name}.safetensors" in state["files"] else {}

        parts = {name: tensors(name) for name in _PARTS}
        found = Checkpoint(step=int(state["step"]), state=state, **parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError(f"checkpoint {path}: cannot be read ({error})") from error
    for name, values in parts.items():
        if spoiled := first_not_finite(values):
            raise InputError(f"checkpoint {path}: {name}: {spoiled} holds numbers that are not finite")
    return found


def _state_of(path: Path) -> dict[str, Any]:
    """What state.json says. One without a checksum was written by an older version.

    Raises InputError where it is not what was written; OSError or ValueError where it cannot be read.
    """
    state = json.loads((path / "state.json").read_text())
    if not isinstance(state, dict):
        raise ValueError("state.json holds no object")
    expected = state.pop("sha256", None)
    if expected is not None and expected != _checksum(state):
        raise InputError(f"checkpoint {path / 'state.json'}: not what was written")
    return state


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first; without those that were set aside."""
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name) and path.is_dir())


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the best validation so far, if validation is on. The newest readable one knows."""
    for path in reversed(checkpoints(folder)):
        try:
            state = _state_of(path)
        except (InputError, OSError, ValueError):
            continue
        if "best_step" not in state:
            break
        if state["best_step"] is None:
            return None
        best = checkpoint_at(folder, state["best_step"])
        return best if best.is_dir() else None
    try:  # older versions kept the name in a file of its own
        path = folder / json.loads((folder / "best.json").read_text())["checkpoint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if path.is_dir() else None


def chosen_checkpoint(folder: Path, which: str) -> tuple[Path, Checkpoint, list[str]]:
    """The "last" or the "best" checkpoint: its folder, what it holds, and a line for each newer one that is broken.

    Raises InputError where there is none.
    """
    if which not in ("last", "best"):
        raise InputError(f"which: received {which!r}; accepted: last, best")
    complaints: list[str] = []
    if which == "best":
        best = best_checkpoint(folder)
        if best is not None:
            return best, load_checkpoint(best), []
    else:
        found, complaints = last_good_checkpoint(folder)
        if found is not None:
            return checkpoint_at(folder, found.step), found, complaints
    raise InputError(
        "\n".join(complaints)
        or f"{folder.parent}: has no {which} checkpoint yet; `cmpl train` writes one, 'best' needs validation"
    )


def last_good_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that reads well, and a line for each newer one that does not."""
    complaints: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            return load_checkpoint(path), complaints
        except InputError as error:
            complaints.append(str(error))
    return None, complaints


def set_broken_aside(folder: Path, *, after_step: int) -> None:
    """Renames the checkpoints of later steps, so that they take no good one's place among those that are kept."""
    for path in checkpoints(folder):
        if step_of(path) > after_step:
            aside = path.with_name(BROKEN + path.name)
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def first_not_finite(tensors: dict[str, Tensor]) -> str | None:
    """The first name whose tensor holds an infinity or no number; None where all are finite.

    The device is read once where all are finite.
    """
    floating = {name: value for name, value in tensors.items() if value.is_floating_point()}
    if all_finite(floating.values()):
        return None
    return next(name for name, value in floating.items() if not value.isfinite().all())


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all are finite. Reads the device once."""
    flags = [value.isfinite().all() for value in tensors if value.is_floating_point()]
    return bool(torch.stack(flags).all()) if flags else True


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
    for name in sorted(own.keys() ^ tensors.keys()):
        if name in tensors:
            raise InputError(f"{source}: {name} is not in the model{nearest(name, own)}")
        raise InputError(f"{source}: {name} is missing; accepted: the tensors of the run's own networks")
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


def _remove_old(folder: Path, *, best_step: int | None) -> None:
    found = checkpoints(folder)
    kept = set(found[-NUM_KEPT:])
    if best_step is not None:
        kept.add(checkpoint_at(folder, best_step))
    for path in found:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    for draft in folder.glob(".step-*"):  # of a process that was killed while writing
        shutil.rmtree(draft, ignore_errors=True)


def _checksum(state: dict[str, Any]) -> str:
    """SHA-256 of the state without its own."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
