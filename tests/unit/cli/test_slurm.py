"""The SLURM script, with stand-ins for SLURM's programs: what torchrun is asked to do on each machine."""

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "cli" / "slurm.sh"
JOB = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "gpu[3-4]", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "96"}


def submitted(tmp_path, *options: str, **variables: str) -> list[str]:
    """The words after `srun`, then the seconds that torchrun leaves its ranks to stop."""
    stand_ins = {
        "scontrol": r"printf 'gpu3\ngpu4\n'",
        "srun": r"""printf '%s\n' "$@" "$TORCH_ELASTIC_SHUTDOWN_TIMEOUT" """,
    }
    for name, line in stand_ins.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **JOB, **variables}
    done = subprocess.run(["bash", SCRIPT, *options], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_one_torchrun_a_machine_meets_at_the_first(tmp_path):
    words = submitted(tmp_path, "--subsets", "3", SLURM_GPUS_ON_NODE="4")
    assert words[:2] == ["--cpus-per-task=96", "torchrun"]  # srun does not inherit it from sbatch
    assert {"--nnodes=2", "--nproc_per_node=4", "--rdzv_endpoint=gpu3:29500", "--rdzv_id=77"} < set(words)
    assert words[words.index("-m") :][:3] == ["-m", "cli.main", "train"]
    assert words[-3:-1] == ["--subsets", "3"]
    assert 30 < int(words[-1]) < 120  # SLURM sends SIGTERM 120 s before the end


def test_eight_gpus_unless_slurm_says_otherwise(tmp_path):
    assert "--nproc_per_node=8" in submitted(tmp_path)
