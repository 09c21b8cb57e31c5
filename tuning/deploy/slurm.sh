#!/bin/bash
# Search on any number of nodes; what follows the script's name goes to the search:
#
#   sbatch --nodes=4 --gpus-per-node=2 slurm.sh --data photos/ --directory runs/photos
#
# sbatch's options overrule those below. README.md, beside this file, says more.
#SBATCH --job-name=search
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=1-00:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
set -euo pipefail

export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$PWD/.ray-token-$SLURM_JOB_ID"
export RAY_USAGE_STATS_ENABLED=0 RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0
unset RAY_ADDRESS RAY_AUTH_TOKEN

# Run a command on $1 nodes of the job, beginning with its node $2.
on_nodes() {
    srun --nodes="$1" --ntasks="$1" --relative="$2" --export=ALL --cpu-bind=none \
        --no-kill --kill-on-bad-exit=0 --wait=0 "${@:3}"
}

# Run Ray on a node, with the job's share of it, until told to stop.
run_ray() {
    local folder is_told=
    folder=$(mktemp --directory /tmp/ray-XXXXXX) # Only its owner may enter.
    trap is_told=yes TERM
    ray start --block --temp-dir="$folder/ray" --num-cpus="$SLURM_CPUS_ON_NODE" \
        --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "$@" &> "$folder/output" ||
        [[ $is_told ]] || cat "$folder/output"
    rm -rf "$folder"
}
export -f run_ray

# Wait for the first $1 nodes, for five minutes at most.
wait_for_nodes() {
    exec python - "$address" "$1" << 'PYTHON'
import sys
import time

import ray

address, wanted = sys.argv[1], int(sys.argv[2])
end = time.monotonic() + 300
while not ray.is_initialized():
    try:
        ray.init(address, logging_level="ERROR", log_to_driver=False)
    except ConnectionError:
        if time.monotonic() > end:
            raise
while (joined := sum(node["Alive"] for node in ray.nodes())) < wanted:
    if time.monotonic() > end:
        break
    time.sleep(0.5)
print(f"{joined} of {wanted} node(s) joined", flush=True)
PYTHON
}

# Run a command such that signals are handled at once.
attend() {
    "$@" &
    current=$!
    wait "$current"
}

end_current() {
    kill "$current" 2> /dev/null || true
    wait "$current" || status=$?
}

stop() {
    trap '' TERM USR1
    kill "${steps[@]}" 2> /dev/null || true
    wait
    rm -f "$RAY_AUTH_TOKEN_PATH"
}

current='' status=0 steps=()
trap stop EXIT
# Cancelled, or preempted, in which case Slurm itself requeues the job.
trap 'end_current; exit 143' TERM
# The time is nearly up: stop, and resume in a new run of the job, if there is more to do.
trap 'end_current; ((status <= 128)) || { stop; scontrol requeue "$SLURM_JOB_ID"; }
    exit "$status"' USR1

rm -f "$RAY_AUTH_TOKEN_PATH"
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32))' \
    > "$RAY_AUTH_TOKEN_PATH")
# This node's address, as the last node sees it.
last=$((SLURM_JOB_NUM_NODES - 1))
head=$(on_nodes 1 "$last" printenv SLURM_LAUNCH_NODE_IPADDR)
port=$((20000 + SLURM_JOB_ID % 10000)) # Jobs may share a node.
address="$head:$port"
on_nodes 1 0 bash -c 'run_ray "$@"' bash --head --include-dashboard=false \
    --node-ip-address="$head" --port="$port" &
steps+=($!)
attend wait_for_nodes 1
if ((last > 0)); then
    on_nodes "$last" 1 bash -c 'run_ray "$@"' bash --address="$address" &
    steps+=($!)
    attend wait_for_nodes "$SLURM_JOB_NUM_NODES"
fi
attend python -m tuning search --address "$address" "$@"
