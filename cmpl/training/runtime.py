"""What this machine is used for: device, decoder, precision, threads. Settled once, said aloud."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from cmpl.config import RuntimeConfig
from pipelines.errors import InputError
from pipelines.loading.dali import require_dali
from pipelines.loading.nvdec import nvdec_problem
from pipelines.loading.setup import cores_of_rank, default_threads, default_workers
from pipelines.loading.waiting import wait_asleep


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A RuntimeConfig with every "auto" decided; `reasons` has a line for each decision."""

    device: torch.device
    backend: str  # who decodes: gpu, cpu, or both: as a trial finds best
    num_workers: int
    loader_threads: int
    torch_threads: int
    amp: bool
    reasons: tuple[str, ...]

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 autocast, or nothing."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.amp else nullcontext()

    @property
    def device_index(self) -> int | None:
        """The CUDA device's number; None on the CPU."""
        return self.device.index if self.device.type == "cuda" else None


def device_type(wanted: str) -> str:
    """cuda or cpu for auto, cuda or cpu. Raises InputError for cuda on a machine without one."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise InputError(f"runtime.device: received {wanted!r}; accepted: auto, cpu, cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("runtime.device: received 'cuda', but torch sees no GPU; accepted here: auto, cpu")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def wait_as_asked(config: RuntimeConfig, *, local_rank: int = 0) -> str | None:
    """Lets this rank's threads sleep while they wait for its GPU, where asked. Call it before the GPU is used.

    Returns what to say of it; None where nothing was done.
    """
    if device_type(config.device) != "cuda" or torch.cuda.is_initialized():
        return None
    is_wanted = config.blocking_sync == "on" or (
        config.blocking_sync == "auto" and config.backend != "cpu" and nvdec_problem() is None
    )
    if not is_wanted:
        return None
    problem = wait_asleep(local_rank)
    return f"threads spin while they wait for the GPU ({problem})" if problem else "threads sleep while they wait"


def settle(config: RuntimeConfig, *, local_rank: int = 0, num_local_ranks: int = 1) -> Runtime:
    """Decides what is left to decide. Raises InputError for what this machine cannot do."""
    kind = device_type(config.device)
    waiting = wait_as_asked(config, local_rank=local_rank)
    if kind == "cuda":
        require_dali("runtime.device", config.device)
    device = torch.device("cuda", local_rank) if kind == "cuda" else torch.device("cpu")
    backend, why_backend = _backend(config.backend, kind)
    amp, why_amp = _amp(config.amp, device)
    num_cores = cores_of_rank(num_local_ranks)
    compute = 1 if kind == "cuda" else max(1, num_cores // 2)
    torch_threads = config.torch_threads or compute
    default = default_threads(num_cores, torch_threads=torch_threads) if kind == "cuda" else 1
    threads = config.loader_threads or default
    workers = default_workers(kind, num_cores, config.workers, torch_threads=torch_threads)
    return Runtime(
        device=device,
        backend=backend,
        num_workers=workers,
        loader_threads=threads,
        torch_threads=torch_threads,
        amp=amp,
        reasons=(
            f"device {device}",
            f"decoding on {'GPU and CPU' if backend == 'both' else f'the {backend}'} ({why_backend})",
            f"{'bf16 autocast' if amp else 'float32'} ({why_amp})",
            "channels-last memory",
            f"{workers} worker{'s' if workers != 1 else ''}, {torch_threads} torch "
            f"thread{'s' if torch_threads != 1 else ''} (of {num_cores} cores)",
            *([waiting] if waiting else []),
        ),
    )


def _backend(wanted: str, kind: str) -> tuple[str, str]:
    problem = nvdec_problem()
    if wanted == "gpu" and (problem or kind == "cpu"):
        raise InputError(f"runtime.backend: received 'gpu', but {problem or 'runtime.device is cpu'}; accepted: cpu")
    if wanted != "auto":
        return wanted, "as asked"
    if kind == "cpu":
        return "cpu", "the device is a CPU"
    return ("cpu", problem) if problem else ("both", "NVDEC is there; a trial finds the shares")


def _amp(wanted: str, device: torch.device) -> tuple[bool, str]:
    if wanted != "auto":
        return wanted == "bf16", "as asked"
    if device.type == "cpu":
        return False, "bf16 pays only on CPUs with AMX, and only in large networks"
    if torch.cuda.get_device_capability(device)[0] < 8:
        return False, "this GPU is older than bf16"
    return True, "this GPU has bf16 tensor cores"
