#!/usr/bin/env bash
# Figure 3: rho over the R1 pipeline, 8,000 steps of SFT on open-r1/Mixture-of-Thoughts and then 8,000 of
# GRPO on open-r1/OpenThoughts-114k-math, with a checkpoint every 200 steps (data, steps and checkpoints are
# the source's), beside the published curves.
#
#   bash recipes/paper/figure3.sh OUT
#
# Expected cost, an estimate that we could not check, for each family: 8 GPUs of 80 GB. SFT: 8,000 steps of
# 128 sequences of some 8,000 tokens are 8e9 tokens x 6 x 7e9 = 3.4e20 operations, 40 hours on 8 GPUs at 300
# TFLOP/s. GRPO: 8,000 steps of 128 rollouts of up to 4,096 tokens, at about a minute a step 130 hours. 80
# checkpoints of 15 GB, 1.2 TB. Measuring 81 checkpoints, about an hour of a GPU each, 10 hours on 8.
source "$(dirname "$0")/common.sh"

prompts math500
for family in qwen llama; do
    runs=$out/train/$family
    stage "$family" sft sft.yaml "$runs/sft" --save_steps 200
    stage "$family" grpo grpo.yaml "$runs/grpo" --model "$runs/sft/final" --save_steps 200
    corrpo track sft="$runs/sft" grpo="$runs/grpo" --start "${base[$family]}" --samples "$out/math500.jsonl" \
        --output "$out/track/$family/sft-then-grpo" --dtype bfloat16 \
        --max-tokens 64 --max-new-tokens 4096 --batch-size 64
done
corrpo report "$out/track" --output "$out/figure3" --axis stretched --published
