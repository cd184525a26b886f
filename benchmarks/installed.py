"""Cost of a package before it does anything: seconds to import, bytes on the disk."""

import importlib.metadata
import re
import statistics
import subprocess
import sys
from pathlib import Path


def import_seconds(modules: str, *, num_repeats: int = 5) -> float:
    """Times `import modules` in new processes: the median in seconds. A first run brings the files into memory."""
    code = f"import time; begin = time.perf_counter(); import {modules}; print(time.perf_counter() - begin)"

    def once() -> float:
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    return statistics.median([once() for _ in range(num_repeats + 1)][1:])


def installed_bytes(package: str) -> dict[str, int]:
    """Gives {package: bytes of its files} for a package and all that it requires and that is installed, but numpy."""
    found: dict[str, int] = {}
    waiting = [package]
    while waiting:
        name = waiting.pop()
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        files = [Path(str(file.locate())) for file in distribution.files or []]
        found[name] = sum(file.stat().st_size for file in files if file.is_file())
        # NVIDIA's packages name their codecs as extras, which DALI asks for; others' extras are not asked for.
        required = [r for r in distribution.requires or [] if "extra ==" not in r or name.startswith("nvidia-")]
        names = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in required}
        waiting += sorted(names - {"numpy", *found, *waiting})
    return found
