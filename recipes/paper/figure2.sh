#!/usr/bin/env bash
# Figure 2 of the paper: rho by model type over sample sets, in two families. Ours: the models (common.sh;
# "safety-aligned" is taken to be the Instruct model), and the sample sets, MATH-500 and GSM8K.
#
#   bash recipes/paper/figure2.sh OUT
#
# Expected cost, an estimate that we could not check: figure1.sh for two families, and again on GSM8K, whose
# responses are half as long: 2 x (14 + 8), so one GPU of 80 GB for some 45 hours; 95 GB of weights. What
# figure1.sh measured into the same OUT is not measured again.
source "$(dirname "$0")/common.sh"

for suite in math500 gsm8k; do
    prompts "$suite"
    for family in qwen llama; do
        for kind in base safety reasoning; do
            declare -n models=$kind
            measure "${models[$family]}" "$suite" "$out/models/$family/$kind/$suite"
        done
    done
done
corrpo report "$out/models" --output "$out/figure2"
