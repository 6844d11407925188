#!/usr/bin/env bash
# Figure 2: rho by model type over sample sets, in two families.
#
#   bash recipes/paper/figure2.sh OUT
#
# Expected cost, an estimate that we could not check: figure1.sh four times over (two families, two sample
# sets), one GPU of 80 GB for some 16 hours, 95 GB of weights. What figure1.sh measured into the same OUT is
# not measured again.
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
