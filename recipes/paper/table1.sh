#!/usr/bin/env bash
# The benchmark table: base, SFT, SFT then GRPO, SFT then CorR-PO, and CorR-PO with shuffled rho as its
# placebo, on seven benchmarks (AIME with pass@16), in two families. The paper's baselines include DAPO,
# whose exact settings are not known to us; TRL's loss_type: dapo is its default loss.
#
#   bash recipes/paper/figure3.sh OUT && bash recipes/paper/table1.sh OUT
#
# Expected cost beside that of figure3.sh, an estimate that we could not check, for each family: two more
# runs of 8,000 steps, 290 hours on 8 GPUs of 80 GB; 5 models x 3,900 generations of some 3,000 tokens, 6
# hours of a GPU with vLLM.
source "$(dirname "$0")/common.sh"

for family in qwen llama; do
    runs=$out/train/$family
    stage "$family" corrpo corrpo.yaml "$runs/corrpo" --model "$runs/sft/final"
    stage "$family" corrpo corrpo.yaml "$runs/shuffle" --model "$runs/sft/final" --inversion_control shuffle
    corrpo evaluate base="${base[$family]}" sft="$runs/sft/final" grpo="$runs/grpo/final" \
        corrpo="$runs/corrpo/final" shuffle="$runs/shuffle/final" \
        --suite gsm8k math500 aime24 aime25 amc23 minerva olympiadbench \
        --output "$out/table1/$family" --backend vllm --dtype bfloat16
done
corrpo report "$out/table1" --output "$out/table1/report"
