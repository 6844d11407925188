#!/usr/bin/env bash
# The benchmark table: base, SFT, SFT then GRPO, SFT then CorR-PO, and as its placebo CorR-PO with rho
# shuffled within each group, on seven benchmarks (AIME with pass@16, as in the paper), in two families. Ours:
# the list of benchmarks, one seed, and the row of GRPO, which stands for the paper's GRPO and DAPO: its loss
# is TRL's default, DAPO's mean over tokens. DAPO's higher clip does nothing with one update a batch, as here,
# and TRL has neither its dynamic sampling nor its penalty on long rollouts.
#
#   bash recipes/paper/figure3.sh OUT && bash recipes/paper/table1.sh OUT
#
# Expected cost beside that of figure3.sh, an estimate that we could not check, for each family:
#   Training: two runs of CorR-PO, 8,000 steps at a tenth more than GRPO's 160 hours: 350 hours on 8 GPUs of
#   80 GB.
#   Evaluating: 5 models x 3,885 generations (1,319 + 500 + 60 x 16 + 40 x 4 + 272 + 674) x some 3,000 tokens
#   = 5.8e7 tokens, 6 hours of a GPU with vLLM at 3,000 a second.
#   Disk: the last two checkpoints of each run and its end, 0.4 TB.
source "$(dirname "$0")/common.sh"

for family in qwen llama; do
    runs=$out/train/$family
    stage "$family" corrpo corrpo.yaml "$runs/corrpo" --model "$runs/sft/final" --save_total_limit 2
    stage "$family" corrpo corrpo.yaml "$runs/shuffle" --model "$runs/sft/final" --save_total_limit 2 \
        --inversion_control shuffle
    corrpo evaluate base="${base[$family]}" sft="$runs/sft/final" grpo="$runs/grpo/final" \
        corrpo="$runs/corrpo/final" shuffle="$runs/shuffle/final" \
        --suite gsm8k math500 aime24 aime25 amc23 minerva olympiadbench \
        --output "$out/table1/$family" --backend vllm --dtype bfloat16
done
corrpo report "$out/table1" --output "$out/table1/report"
