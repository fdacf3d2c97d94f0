#!/bin/bash
# An array job for Slurm: each task measures one shard of a campaign, on a node of its own.
#
#   sbatch --array=1-8 scenarios/doc/slurm.sh exit-now --set lifetime=0,1ms --trials 1000
#
# What follows the file are the arguments of `scenario measure`, the same for all tasks. They are
# measured into $OUT/shard-K (campaign/shard-K by default), and afterwards put together:
#
#   report add NAME campaign/shard-*
#
# A task that was stopped (a time limit, a node that was taken away) is submitted again with its
# number alone; it goes on where it stopped: sbatch --array=3 scenarios/doc/slurm.sh ...; a campaign
# of 8 shards is then named as such: SHARDS=8.
#SBATCH --job-name=allgone
#SBATCH --exclusive
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --output=shard-%a.log
set -euo pipefail

: "${SLURM_ARRAY_TASK_ID:?run it with sbatch --array=1-N}"
shard=$SLURM_ARRAY_TASK_ID
of=${SHARDS:-${SLURM_ARRAY_TASK_MAX:?}}
out=${OUT:-campaign}/shard-$shard
# All shards have to be of one plan, so all have one seed.
seed=${SEED:-1}

# The job's own cgroup is Slurm's. Where that is not delegated, the campaign needs another: its path
# stands in CGROUP_BASE, and `scenario doctor` says what is missing.
command=(scenario measure)
if [ -e "$out/plan.json" ]; then
    exec "${command[@]}" --quiet --resume "$out"
fi
mkdir -p "$(dirname "$out")"
exec "${command[@]}" "$@" ${CGROUP_BASE:+--cgroup "$CGROUP_BASE"} --quiet \
    --seed "$seed" --shard "$shard/$of" --out "$out"
