#!/bin/bash
# Two machines with eight GPUs each retrain a found network on ImageNet, or resume the retraining.
#   sbatch docs/examples/slurm.sh configs/cifar100-imagenet.yaml
# The repository, the images and `artifacts/` lie on a file system that both machines see. A job
# that is cut off loses the steps since the last checkpoint (retrain.checkpoint_steps) and is put
# back in the queue; one whose process dies is started again in place, three times at most.
#SBATCH --job-name=nas-acceleration
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

config=${1:?usage: sbatch docs/examples/slurm.sh CONFIG}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# `exec`, so that Slurm's SIGTERM reaches torchrun, and through it every process.
srun --kill-on-bad-exit=1 bash -c "exec .venv/bin/torchrun \
    --nnodes=$SLURM_NNODES --nproc-per-node=$SLURM_GPUS_ON_NODE --max-restarts=3 \
    --rdzv-id=$SLURM_JOB_ID --rdzv-backend=c10d --rdzv-endpoint=$first:29400 \
    run_pipeline.py run '$config' --device cuda"
