#!/usr/bin/env bash
# Figure 4 of the paper: accuracy against rho over the checkpoints of figure3.sh. Ours: the suites, MATH-500
# (pass@1) and AIME 2024 (pass@16, as the paper reports it), temperature 0.6 and top-p 0.95.
#
#   bash recipes/paper/figure3.sh OUT && bash recipes/paper/figure4.sh OUT
#
# Expected cost beside that of figure3.sh, an estimate that we could not check, for each family: 81 checkpoints
# x (500 + 30 x 16) generations x some 3,500 tokens = 2.8e8 tokens, 26 hours of a GPU of 80 GB with vLLM at
# 3,000 tokens a second, and 4 hours to load: 30.
source "$(dirname "$0")/common.sh"

for family in qwen llama; do
    runs=$out/train/$family
    evaluate "$family" sft-then-grpo sft="$runs/sft" grpo="$runs/grpo"
done
corrpo report "$out/track" "$out/evaluated" --output "$out/figure4"
corrpo report "$out/track" "$out/evaluated" --output "$out/figure4-pass16" --measure pass@16
