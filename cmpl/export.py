"""A run's network as one file that needs no code of this project: torch.export's or ONNX.

Legend: B clips, T frames, S side, K classes.
"""

import contextlib
import copy
import importlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmpl.methods.views import normalized
from cmpl.run import Run
from pipelines.errors import InputError
from pipelines.files import written_whole

FORMATS = {"torch": ".pt2", "onnx": ".onnx"}
"""Format -> the usual suffix of its files."""
ONNX_MODULES = ("onnx", "onnxscript", "onnxruntime")
MOST_DIFFERENCE = 1e-3
"""Between probabilities of the file and of the run: a file that is further off is not kept."""
METADATA = "metadata.json"
"""The name of the metadata among torch.export's extra files. In ONNX each field has a property, its value as JSON."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written, read again and compared with the run's network."""

    path: Path
    metadata: dict[str, Any]
    largest_difference: float  # of any probability


class Answering(nn.Module):
    """A network with all that stands around it: uint8 clips (B, T, S, S, 3) in RGB -> probabilities (B, K)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor:
        """Normalizes, answers, and takes the softmax over the classes."""
        return torch.softmax(self.network(normalized(clips.permute(0, 4, 1, 2, 3))).float(), dim=1)


def export(run: Run, path: Path | str, *, format: str = "torch", network: str = "primary") -> Exported:
    """Writes a network of the run to `path`, for any number of clips at once.

    The file is read again by what will run it, and compared with the run's network on random clips, before it takes its
    name. Raises InputError for an unknown format or network, where packages are missing, for a network that cannot be
    traced, and where an answer differs by more than MOST_DIFFERENCE.
    """
    if format not in FORMATS:
        raise InputError(f"format: received {format!r}; accepted: {', '.join(FORMATS)}")
    if network not in run.networks:
        raise InputError(f"network: received {network!r}; accepted: {', '.join(run.networks)}")
    missing = [name for name in ONNX_MODULES if importlib.util.find_spec(name) is None] if format == "onnx" else []
    if missing:
        raise InputError(
            f"format: received 'onnx', but {', '.join(missing)} cannot be imported; accepted: torch, or pip install "
            "'cmpl[onnx]' first"
        )
    metadata = metadata_of(run, network)
    shape = metadata["frames"], metadata["side"], metadata["side"], 3
    module = Answering(copy.deepcopy(run.networks[network]).cpu()).eval().requires_grad_(False)
    with written_whole(path, field="--out") as draft, torch.inference_mode(False), torch.no_grad(), _quiet():
        traced = _traced(module, torch.zeros(2, *shape, dtype=torch.uint8), field=f"network={network}")
        draft.write_bytes(_torch_file(traced, metadata) if format == "torch" else _onnx_file(traced, metadata))
        clips = torch.randint(0, 256, (3, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        difference = float((_answers_of_file(draft, clips, format=format) - module(clips)).abs().max())
        if not difference <= MOST_DIFFERENCE:
            raise InputError(
                f"{path}: its answers differ from the run's by {difference:.2g}; accepted: at most "
                f"{MOST_DIFFERENCE:g}; nothing is written"
            )
    return Exported(path=Path(path), metadata=metadata, largest_difference=difference)


def metadata_of(run: Run, network: str) -> dict[str, Any]:
    """What must be known to use the file, as JSON values. `frames`, `stride` and `side` are those of the evaluation."""
    clip = run.geometry.primary if network == "primary" or run.geometry.auxiliary is None else run.geometry.auxiliary
    return {
        "classes": list(run.classes),
        "network": network,
        "frames": clip.num_frames,
        "stride": clip.stride,
        "pairs": clip.pairs,
        "side": run.config.evaluation.short_side,
        "short_videos": run.geometry.short_videos,
        "input": "clips: uint8 RGB (batch, frames, side, side, 3), normalized inside",
        "output": "probabilities: float32 (batch, classes)",
        "method": run.config.method.name,
        "step": run.step,
    }


def _traced(module: nn.Module, clips: Tensor, *, field: str) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(module, (clips,), dynamic_shapes={"clips": {0: torch.export.Dim("batch")}})
    except Exception as error:  # of many kinds, as a plug-in's network may hold anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{field}: torch.export cannot trace it ({reason}); accepted: a network that it can"
        ) from error


def _torch_file(traced: torch.export.ExportedProgram, metadata: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.export.save(traced, file, extra_files={METADATA: json.dumps(metadata)})
    return file.getvalue()


def _onnx_file(traced: torch.export.ExportedProgram, metadata: dict[str, Any]) -> bytes:
    program = torch.onnx.export(
        traced, dynamo=True, input_names=["clips"], output_names=["probabilities"], verbose=False
    )
    assert program is not None
    for name, value in metadata.items():
        program.model.metadata_props[name] = json.dumps(value)
    return program.model_proto.SerializeToString()


def _answers_of_file(path: Path, clips: Tensor, *, format: str) -> Tensor:
    """Reads the file as its users will: clips (B, T, S, S, 3) -> probabilities (B, K)."""
    if format == "torch":
        return torch.export.load(io.BytesIO(path.read_bytes())).module()(clips)
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["probabilities"], {"clips": clips.numpy()})[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the exporters say of themselves from the user; errors are raised all the same."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
