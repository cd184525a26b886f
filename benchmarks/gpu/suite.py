"""Measures all that needs a GPU, in one command of up to 23 minutes.

Every section runs in a process of its own with a time limit. One that fails, hangs or loses the GPU costs the others
nothing, and what it found before that is kept.

    python -m benchmarks.gpu.suite [--only SECTION]... [--cpu] [--json benchmarks/results/gpu_suite.json]

With --cpu whatever needs no GPU runs in small; DALI's software decoder (VP9) takes NVDEC's place.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import environment, save_json
from benchmarks.gpu import backends, computing, decoding, questions, sections
from benchmarks.gpu.setup import Found, Suite

SECTIONS: dict[str, tuple[Callable[[Suite], Found], float]] = {
    "probe": (sections.probe, 30),
    "parity": (sections.parity, 45),
    "kernels": (computing.kernels, 45),
    "convolution": (computing.convolution, 90),
    "training": (sections.training, 150),
    "switches": (computing.switches, 300),
    "backends": (backends.backends, 240),
    "step": (computing.step, 120),
    "questions": (questions.questions, 60),
    "threads": (decoding.threads, 60),
    "decode_time": (decoding.decode_time, 40),
    "sizes": (decoding.sizes, 30),
    "augment": (sections.augment, 30),
    "loaders": (sections.loaders, 120),
    "corrupt": (sections.corrupt, 30),
}
"""What is run, in this order, and for how many seconds at most: what decides most comes first."""


PATIENCE_ON_CPU = 5
"""Times the seconds, where a CPU that others use, too, only has to come to the end."""


def run_section(name: str, suite: Suite, out: Path) -> None:
    """Runs a section in this process. Every piece is written as soon as it is there."""
    found = {}
    for key, value in SECTIONS[name][0](suite):
        found[key] = value
        save_json(out, found)


def guarded(name: str, suite: Suite) -> dict[str, Any]:
    """Runs a section in a process of its own. Returns what it found, how long it took, and why it failed if it did."""
    out, begin = suite.folder / f"{name}.json", time.monotonic()
    limit_seconds = SECTIONS[name][1] * (PATIENCE_ON_CPU if suite.cpu else 1)
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu.suite", "--section", name, "--folder", str(suite.folder)]
    log = suite.folder / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command + (["--cpu"] if suite.cpu else []), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(limit_seconds)
            problem = None if code == 0 else _last_line(log) or f"ended with {code}"
        except subprocess.TimeoutExpired:
            problem = f"not done after {limit_seconds:.0f} seconds"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    found = json.loads(out.read_text()) if out.exists() else {}
    return {"found": found, "seconds": time.monotonic() - begin, "problem": problem}


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or [""])[-1][:300]


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(SECTIONS)), help="Only these sections.")
@click.option("--cpu", is_flag=True, help="In small, without a GPU.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where videos and logs are kept (default: the cache).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result here.")
@click.option("--section", type=click.Choice(list(SECTIONS)), hidden=True, help="Run it in this process.")
def main(only: tuple[str, ...], cpu: bool, folder: Path | None, json_path: Path | None, section: str | None) -> None:
    """Measure all that needs a GPU, section by section."""
    from pipelines.cache import cache_root

    suite = Suite(folder=(folder or cache_root() / "gpu_suite").resolve(), cpu=cpu)
    suite.folder.mkdir(parents=True, exist_ok=True)
    if section:
        return run_section(section, suite, suite.folder / f"{section}.json")
    record: dict[str, Any] = {"benchmark": "gpu_suite", "environment": environment(), "cpu": cpu, "sections": {}}
    suite.videos()  # made before the clock of any section runs
    for name in only or SECTIONS:
        result = record["sections"][name] = guarded(name, suite)
        click.echo(f"\n{name}: {result['seconds']:.0f} s{'' if not result['problem'] else ', ' + result['problem']}")
        for key, value in result["found"].items():
            click.echo(f"  {key}: {_short(value)}")
        if json_path:
            save_json(json_path, record)


def _short(value: object) -> str:
    """Writes one found value in a few words, tables row by row."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict) and "rows" in value:
        return _short(value["rows"]) + "".join(f"\n    without {k}: {v}" for k, v in value["missing"].items())
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(part)}" for key, part in value.items() if not isinstance(part, dict))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "".join(f"\n    {_short(row)}" for row in value)
    return str(value)


if __name__ == "__main__":
    main()
