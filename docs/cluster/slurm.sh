#!/bin/bash
# A search on Slurm, whose jobs may be preempted, killed or run out of time at any moment:
#
#     export HPO_GN_STORAGE=postgresql://user:password@server/database
#     sbatch docs/cluster/slurm.sh
#
# Task 0 of the array leads: it begins the search and writes its result. The others join it and know nothing
# but the storage. A task that was stopped is queued again and goes on where the search stands by then.

#SBATCH --job-name=hpo-gn
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=hpo-gn-%A_%a.log
# This long before the time is up, in seconds: more than an epoch takes, which is finished and kept.
#SBATCH --signal=B:USR1@60

set -u

: "${HPO_GN_STORAGE:?must be the URL of a PostgreSQL database}"
shared=${HPO_GN_SHARED:-$PWD} # a folder that all nodes see
export HPO_GN_DATA=${HPO_GN_DATA:-$shared/data}
study=cifar10-resnet20

if [[ $SLURM_ARRAY_TASK_ID == 0 ]]; then
    hpo-gn search --study "$study" --data cifar10 --model resnet20 --objective agn-val --alpha 1e-5 \
        --budget 4096 --epochs 64 --output "$shared/runs/$study" &
else
    hpo-gn worker --study "$study" --wait 600 &
fi
process=$!

# Slurm's own SIGTERM reaches every process of the job, so that of the batch shell is only caught here.
trap 'kill -TERM "$process"' USR1
trap : TERM
while kill -0 "$process" 2>/dev/null; do wait "$process"; done # a trapped signal ends a wait
wait "$process"
status=$?

# 130: it was asked to stop, and there is more to do.
if ((status == 130)); then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
