#!/usr/bin/env bash
# Figure 4: accuracy against rho over the checkpoints of figure3.sh, on MATH-500 (pass@1) and AIME 2024
# (pass@16).
#
#   bash recipes/paper/figure3.sh OUT && bash recipes/paper/figure4.sh OUT
#
# Expected cost beside that of figure3.sh, an estimate that we could not check: 81 checkpoints x (500 + 30 x
# 16) generations of some 4,000 tokens are 3.1e8 tokens for each family, 30 hours of a GPU with vLLM at
# 3,000 tokens a second.
source "$(dirname "$0")/common.sh"

for family in qwen llama; do
    runs=$out/train/$family
    corrpo evaluate sft="$runs/sft" grpo="$runs/grpo" --start "${base[$family]}" --suite math500 aime24 \
        --output "$out/evaluated/$family/sft-then-grpo" --backend vllm --dtype bfloat16
done
corrpo report "$out/track" "$out/evaluated" --output "$out/figure4"
corrpo report "$out/track" "$out/evaluated" --output "$out/figure4-pass16" --measure pass@16
