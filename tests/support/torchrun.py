"""Scripts run by torchrun: several ranks, gloo on the CPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.runs import ROOT


def torchrun_begun(script: Path, *arguments: str, num_ranks: int = 2) -> subprocess.Popen:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={num_ranks}", f"--master_port={port}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, str(script), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def torchrun(script: Path, *arguments: str, num_ranks: int = 2) -> subprocess.CompletedProcess:
    launcher = torchrun_begun(script, *arguments, num_ranks=num_ranks)
    stdout, stderr = launcher.communicate(timeout=240)
    return subprocess.CompletedProcess(launcher.args, launcher.returncode, stdout, stderr)
