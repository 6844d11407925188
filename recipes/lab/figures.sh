#!/usr/bin/env bash
# Every figure and table of the report, on the lab, from its base models on: both families go through
#   base -> SFT -> GRPO            the R1 pipeline, SFT on worked sums and then GRPO          (figures 3 and 4)
#   base -> GRPO                   pure RL                                                     (figures 3 and 4)
#   SFT -> GRPO, SFT -> CorR-PO    the same start, with and without inversion in the reward    (figure 5)
# and the six shipped models are measured on the three sample sets (figures 1 and 2).
#
#   bash recipes/lab/figures.sh OUT        (corrpo on the PATH; make gallery does it with the .venv)
#
# Cost: two CPU cores for under half an hour, 300 MB of disk, nothing downloaded. A run that was stopped goes
# on when the same command is given again. One seed each: enough to show every picture, too little to judge
# the method.
set -euo pipefail

out=${1:?give a folder for the results: bash recipes/lab/figures.sh OUT}
here=$(dirname "$0")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1

train() { # FAMILY RUN STAGE RECIPE MODEL
    local folder=$out/train/$1/$2
    [ -d "$folder/final" ] || corrpo train "$3" --config "$here/$4" --model "$5" --output_dir "$folder" --resume \
        --eval_strategy no --max_steps "$6" --save_steps "$7"
}

family() {
    train "$1" sft sft sft.yaml "lab:$1/base" 600 100
    train "$1" grpo grpo grpo.yaml "$out/train/$1/sft/final" 60 10
    train "$1" corrpo corrpo corrpo.yaml "$out/train/$1/sft/final" 60 10
    train "$1" pure-grpo grpo pure-grpo.yaml "lab:$1/base" 60 10
}

family qwen2 & other=$!
family llama
wait "$other"
