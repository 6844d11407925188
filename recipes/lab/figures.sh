#!/usr/bin/env bash
# Every figure and table of the report, on the lab, from its base models on. Both families go through
#   base -> SFT -> GRPO            the R1 pipeline: SFT on worked sums, then GRPO           (figures 3 and 4)
#   base -> GRPO                   pure RL                                                   (figures 3 and 4)
#   SFT -> GRPO, SFT -> CorR-PO    from the same weights, without and with inversion in the reward  (figure 5)
# and the six shipped models are measured on the three sample sets (figures 1 and 2).
#
#   bash recipes/lab/figures.sh OUT        (corrpo on the PATH; make gallery does it with the .venv)
#
# Cost: two CPU cores for less than half an hour, 200 MB of disk, nothing downloaded. A run that was stopped
# goes on when the same command is given again. One seed each: enough to show every picture, too little to
# judge the method.
set -euo pipefail

out=${1:?give a folder for the results: bash recipes/lab/figures.sh OUT}
here=$(dirname "$0")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1

train() { # FAMILY/RUN STAGE RECIPE MODEL, and flags over the recipe
    local folder=$out/train/$1
    [ -d "$folder/final" ] && return
    corrpo train "$2" --config "$here/$3" --model "$4" --output_dir "$folder" --resume \
        --eval_strategy no "${@:5}"
}

run() { # FAMILY/RUN START WORD...: rho and accuracy at every checkpoint
    corrpo track "${@:3}" --start "$2" --samples lab:reasoning --output "$out/track/$1" --processes 1 \
        --max-new-tokens 120 --max-tokens 40 --batch-size 64
    corrpo evaluate "${@:3}" --start "$2" --suite lab:sums --problems 200 --n 2 --output "$out/evaluated/$1" \
        --processes 1 --temperature 1 --top-p 1 --max-new-tokens 160 --batch-size 400
}

family() {
    local sft=$out/train/$1/sft
    train "$1/sft" sft sft.yaml "lab:$1/base" --max_steps 1000 --save_steps 100 --max_samples 32000 \
        --learning_rate 2e-3 --lr_scheduler_type constant_with_warmup --logging_steps 100
    train "$1/grpo" grpo grpo.yaml "$sft/final" --max_steps 60 --save_steps 10 --logging_steps 10
    train "$1/corrpo" corrpo corrpo.yaml "$sft/final" --max_steps 60 --save_steps 10 --logging_steps 10
    train "$1/pure-grpo" grpo pure-grpo.yaml "lab:$1/base" --max_steps 60 --save_steps 10 --logging_steps 10
    for kind in base safety reasoning; do
        for samples in base safety reasoning; do
            corrpo measure "lab:$1/$kind" --samples "lab:$samples" --output "$out/models/$1/$kind/$samples" \
                --template plain --max-new-tokens 120 --max-tokens 40 --batch-size 64
        done
    done
    local runs=$out/train/$1
    run "$1/sft-then-grpo" "lab:$1/base" "sft=$runs/sft" "grpo=$runs/grpo"
    run "$1/pure-grpo" "lab:$1/base" "grpo=$runs/pure-grpo"
    run "$1/grpo" "$sft/final" "rl=$runs/grpo"
    run "$1/corrpo" "$sft/final" "rl=$runs/corrpo"
}

family qwen2 & # a core for each
family llama
wait "$!"
corrpo report "$out/models" "$out/track" "$out/evaluated" --output "$out/report" --axis stretched
