#!/usr/bin/env bash
# Figure 5: pure RL from the base model, GRPO beside CorR-PO, rho and accuracy over training. What the
# paper's figure 5 shows exactly is not known to us: we take it to be the training dynamics of RL. Ours: the
# weight of the inversion (0.5), and the placebo beside it, rho shuffled within each group.
#
#   bash recipes/paper/figure5.sh OUT
#
# Expected cost, an estimate that we could not check: 8 GPUs of 80 GB for some 545 hours, and one for 45.
#   Training: 8,000 steps of GRPO, 160 hours as in figure3.sh, and two runs of CorR-PO at a tenth more, 350.
#   Measuring: 123 checkpoints x 2.2 hours of a GPU (common.sh) = 270, 34 hours on 8.
#   Evaluating: 123 x 980 generations x some 3,500 tokens = 4.2e8 tokens, 39 hours at 3,000 a second, and 6 to
#   load.
#   Disk: 120 checkpoints of 90 GB, 10.8 TB; 1.8 TB without the optimizer's files (figure3.sh).
source "$(dirname "$0")/common.sh"

prompts math500
runs=$out/train/qwen
stage qwen corrpo pure-corrpo.yaml "$runs/pure-grpo" --inversion_weight 0 --save_steps 200
stage qwen corrpo pure-corrpo.yaml "$runs/pure-corrpo" --save_steps 200
stage qwen corrpo pure-corrpo.yaml "$runs/pure-shuffle" --inversion_control shuffle --save_steps 200
for run in pure-grpo pure-corrpo pure-shuffle; do
    track qwen "$run" rl="$runs/$run"
    evaluate qwen "$run" rl="$runs/$run"
done
corrpo report "$out/track" "$out/evaluated" --output "$out/figure5" --axis stretched --published
