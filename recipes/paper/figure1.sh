#!/usr/bin/env bash
# Figure 1: token entropy against gradient strength, token by token, for a base, a safety-aligned and a
# reasoning model of the Qwen family, on 200 problems of MATH-500.
#
#   bash recipes/paper/figure1.sh OUT
#
# Expected cost, an estimate that we could not check on such a machine: one GPU of 80 GB for some 4 hours,
# 45 GB of weights. A model is 200 responses of up to 4,096 tokens (generation, about half an hour with
# transformers) and 200 x 64 gradients; a gradient is a backward pass through activations over a prefix of
# some 1,500 tokens, 2 x 7e9 x 1,500 = 2e13 operations, so 2.7e17 in all, a quarter of an hour at 300
# TFLOP/s, and as much again for singular values.
source "$(dirname "$0")/common.sh"

prompts math500
for kind in base safety reasoning; do
    declare -n models=$kind
    measure "${models[qwen]}" math500 "$out/models/qwen/$kind/math500"
done
corrpo report "$out/models" --output "$out/figure1"
