#!/usr/bin/env bash
# Pre-training on all GPUs of one machine; the same command goes on after an interruption:
#   launch/torchrun.sh PROCESSES STORE RUN [options of medstrata pretrain]
set -euo pipefail

processes=$1 store=$2 run=$3
shift 3
exec torchrun --standalone --nproc-per-node "$processes" -m medstrata pretrain "$store" --out "$run" --resume "$@"
