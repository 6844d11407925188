#!/usr/bin/env bash
# Figure 5: pure RL from the base model, GRPO beside CorR-PO, rho and accuracy over training. What the
# paper's figure 5 shows exactly is not known to us; this is our reading. The placebo (rho shuffled within
# each group) runs beside them.
#
#   bash recipes/paper/figure5.sh OUT
#
# Expected cost, an estimate that we could not check: three runs of 8,000 steps, some 130 hours each on 8
# GPUs of 80 GB (CorR-PO a tenth more), 40 checkpoints of 15 GB each run, 1.8 TB; 123 checkpoints to measure
# and evaluate, 10 hours on 8.
source "$(dirname "$0")/common.sh"

prompts math500
runs=$out/train/qwen
stage qwen corrpo pure-corrpo.yaml "$runs/pure-grpo" --inversion_weight 0 --save_steps 200
stage qwen corrpo pure-corrpo.yaml "$runs/pure-corrpo" --save_steps 200
stage qwen corrpo pure-corrpo.yaml "$runs/pure-shuffle" --inversion_control shuffle --save_steps 200
for run in pure-grpo pure-corrpo pure-shuffle; do
    corrpo track rl="$runs/$run" --start "${base[qwen]}" --samples "$out/math500.jsonl" \
        --output "$out/track/qwen/$run" --dtype bfloat16 --max-tokens 64 --max-new-tokens 4096 --batch-size 64
    corrpo evaluate rl="$runs/$run" --start "${base[qwen]}" --suite math500 aime24 \
        --output "$out/evaluated/qwen/$run" --backend vllm --dtype bfloat16
done
corrpo report "$out/track" "$out/evaluated" --output "$out/figure5" --axis stretched --published
