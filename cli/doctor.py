"""`cmpl doctor`: shows what this machine offers."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import click


@click.command()
def command() -> None:
    """Say what is installed and what training would use here, and why.

    Tries every part by itself, so that one that is missing does not hide the others.
    """
    from rich.table import Table
    from rich.text import Text

    from cli.display import console_of

    table = Table("", "found", title="cmpl doctor", title_justify="left", show_header=False)
    for name, check in CHECKS:
        found, works = tried(check)
        table.add_row(name, Text(found, style="" if works else "bold red"))
    console_of().print(table)


def tried(check: Callable[[], str]) -> tuple[str, bool]:
    """Runs a check. Returns its finding (or the error it raised) and if it ran."""
    try:
        return check(), True
    except Exception as error:
        return f"{type(error).__name__}: {error}", False


def _cmpl() -> str:
    try:
        return importlib.metadata.version("cmpl")
    except importlib.metadata.PackageNotFoundError:
        return f"not installed, run from {Path(__file__).parents[1]}"


def _torch() -> str:
    import torch

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return f"{torch.__version__}, {built}, {'sees a GPU' if torch.cuda.is_available() else 'sees no GPU'}"


def _dali() -> str:
    import torch

    from pipelines.loading.dali import dali_problem, installed_dali

    found = installed_dali()
    has_gpu = torch.cuda.is_available()
    if has_gpu and (misfit := dali_problem(found, torch_cuda=torch.version.cuda, driver=driver_version())):
        raise RuntimeError(misfit)
    if found is None:
        return "not installed; only a GPU needs it: pip install 'cmpl[cuda13]', or 'cmpl[cuda12]'"
    if has_gpu:
        import nvidia.dali  # noqa: F401  (its libraries must load, too)
    return f"{found.version}, built for CUDA {found.cuda}{'' if has_gpu else '; not used without a GPU'}"


def _pyav() -> str:
    import av

    return f"{importlib.metadata.version('av')}, FFmpeg {av.ffmpeg_version_info}"


def _tensorboard() -> str:
    found = importlib.util.find_spec("tensorboard") is not None
    return importlib.metadata.version("tensorboard") if found else "not installed; metrics go to metrics.jsonl alone"


def _memory() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    shared = shutil.disk_usage("/dev/shm").total / 2**30
    return f"{gib:.1f} GiB, shared (for workers): {shared:.1f} GiB"


def _gpus() -> str:
    import torch

    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return "\n".join(f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in found) or "none"


def _driver() -> str:
    return driver_version() or "none: no nvidia-smi that answers"


def driver_version() -> str | None:
    """The NVIDIA driver's version, such as 580.65.06; None where nvidia-smi does not tell it."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    return answer.stdout.splitlines()[0].strip() if answer.returncode == 0 and answer.stdout.strip() else None


def _nvdec() -> str:
    from pipelines.loading.nvdec import nvdec_problem

    return nvdec_problem() or "there"


def _choices() -> str:
    from cmpl.config import RuntimeConfig
    from cmpl.training.runtime import settle

    return "\n".join(settle(RuntimeConfig()).reasons)


def _cache() -> str:
    from pipelines.cache import cache_root

    root = cache_root()
    if not root.is_dir():
        return f"{root} (not there yet)"
    size = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_dir())
    return f"{root}, {size / 2**20:.1f} MiB"


def _newest_run() -> str:
    from cmpl.training.run_directory import newest_run
    from pipelines.errors import InputError

    try:
        run = newest_run(Path("runs"))
    except InputError:
        return "none under runs/"
    return f"{run}, {'finished' if (run / 'result.json').exists() else 'not finished'}"


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("cmpl", _cmpl),
    ("Python", platform.python_version),
    ("torch", _torch),
    ("DALI", _dali),
    ("PyAV", _pyav),
    ("numpy", lambda: importlib.metadata.version("numpy")),
    ("TensorBoard", _tensorboard),
    ("CPU cores", lambda: f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}"),
    ("memory", _memory),
    ("GPUs", _gpus),
    ("driver", _driver),
    ("NVDEC", _nvdec),
    ("training here", _choices),
    ("cache", _cache),
    ("newest run", _newest_run),
)
