#!/usr/bin/env bash
# Kinetics-400 on two machines of eight GPUs, one rank a GPU: sbatch cli/slurm.sh [more options of `cmpl train`]
# Two minutes before its time limit the job saves and stops; the same sbatch goes on where it was.
#SBATCH --job-name=cmpl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
set -euo pipefail
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=110 # torchrun kills after 30 s otherwise; ranks stop together, every 20 steps
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" torchrun \
  --nnodes="$SLURM_NNODES" --nproc_per_node="${SLURM_GPUS_ON_NODE:-8}" \
  --rdzv_backend=c10d --rdzv_endpoint="$first:29500" --rdzv_id="$SLURM_JOB_ID" \
  -m cli.main train --dataset k400 --labeled 1pct --out runs/k400-1pct-cmpl "$@"
