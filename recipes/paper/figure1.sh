#!/usr/bin/env bash
# Figure 1 of the paper: token entropy against gradient strength, token by token, for a base, a safety-aligned
# and a reasoning model. Ours: the models (Qwen2.5-7B, its Instruct, DeepSeek-R1-Distill-Qwen-7B), 200 problems
# of MATH-500, and 64 tokens of each response, drawn from equal stretches of it.
#
#   bash recipes/paper/figure1.sh OUT
#
# Expected cost, an estimate that we could not check: one GPU of 80 GB for some 14 hours (common.sh: 8.5 for the
# reasoning model, 2.8 for each of the others, and some minutes of generation), 45 GB of weights.
source "$(dirname "$0")/common.sh"

prompts math500
for kind in base safety reasoning; do
    declare -n models=$kind
    measure "${models[qwen]}" math500 "$out/models/qwen/$kind/math500"
done
corrpo report "$out/models" --output "$out/figure1"
