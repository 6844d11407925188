#!/usr/bin/env bash
# Figure 3 of the paper and of the first author's post: rho over the R1 pipeline, 8,000 steps of SFT on
# open-r1/Mixture-of-Thoughts and then 8,000 of GRPO on open-r1/OpenThoughts-114k-math, with a checkpoint every
# 200 steps (data, steps and checkpoints are the post's; batches, lengths and rates are ours, in the recipes),
# beside the published curves. Llama's base model has no chat template and reads the prompts as they stand.
#
#   bash recipes/paper/figure3.sh OUT
#
# Expected cost, an estimate that we could not check, for each family: 8 GPUs of 80 GB for some 190 hours.
#   SFT: 8,000 steps x 16 sequences x some 6,000 tokens = 7.7e8 tokens, x 8 x 7.6e9 operations (backward, and
#   forward twice, as activations are computed again) = 4.7e19, 8 hours at 8 x 200 TFLOP/s.
#   GRPO: 8,000 steps x 70 s = 160 hours: 60 s until the longest rollout has its 4,096 tokens at 70 a second,
#   10 s to train on 128 rollouts.
#   Measuring: 81 checkpoints x 2.2 hours of a GPU (common.sh) = 180, 22 hours on 8.
#   Disk: 80 checkpoints of 90 GB, 7.2 TB. Of that 75 GB each are the optimizer's (global_step*), which
#   --resume needs of the last one alone: those of the others may be deleted, and 1.2 TB are left.
source "$(dirname "$0")/common.sh"

prompts math500
for family in qwen llama; do
    runs=$out/train/$family
    stage "$family" sft sft.yaml "$runs/sft" --save_steps 200
    stage "$family" grpo grpo.yaml "$runs/grpo" --model "$runs/sft/final" --save_steps 200
    track "$family" sft-then-grpo sft="$runs/sft" grpo="$runs/grpo"
done
corrpo report "$out/track" --output "$out/figure3" --axis stretched --published
