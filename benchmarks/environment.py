"""Hardware, versions and summaries that every benchmark writes beside its figures."""

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.files import written_whole

_PACKAGES = ("torch", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "av", "numpy")


def environment() -> dict[str, Any]:
    """Collects hardware, versions and thread settings of this process, ready for JSON."""
    import torch

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu_model": _cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "num_cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus],
        "cuda_version": torch.version.cuda,
        "cudnn_version": torch.backends.cudnn.version(),
        "system": platform.platform(),
        "python_version": platform.python_version(),
        "package_versions": {name: _version(name) for name in _PACKAGES},
        "num_torch_threads": torch.get_num_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }


def save_json(path: Path, record: dict[str, Any]) -> None:
    """Writes a record as JSON, whole or not at all. Makes its folder. Raises OSError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as draft:
        draft.write_text(json.dumps(record, indent=1) + "\n")


def summarize(samples_seconds: Sequence[float]) -> dict[str, Any]:
    """Gives median, quartiles and number of the samples.

    Raises:
        ValueError: no samples.
    """
    samples = [float(sample) for sample in samples_seconds]
    if not samples:
        raise ValueError("samples_seconds: received none; accepted: one or more")
    quartiles = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return {
        "median_seconds": quartiles[1],
        "lower_quartile_seconds": quartiles[0],
        "upper_quartile_seconds": quartiles[2],
        "num_samples": len(samples),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
