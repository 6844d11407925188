#!/usr/bin/env bash
# The fingerprint of models of six training regimes and three families, as one table with intervals.
#
#   base         the lab's base model                             lab:FAMILY/base
#   sft          the base on worked sums                          lab:FAMILY/reasoning
#   dpo          the SFT model on pairs of its own responses, a right and a wrong one to the same sum
#   grpo         the SFT model by GRPO, rewarded for right answers and their form
#   distilled    the base on right responses of the GRPO model, its teacher
#   merged       the mean of the weights of the SFT and the GRPO model, half of each
#
# qwen2 and llama are the lab's attention families. mamba2 has no attention; its base and SFT models are trained
# here by the lab's own recipe. Each model answers the same 64 held-out sums for rho, and 300 for accuracy.
#
#   bash recipes/lab/diagnosis.sh OUT        (corrpo on the PATH)
#
# Cost: about an hour of one CPU core, 100 MB of disk, nothing downloaded. A run that was stopped goes on when
# the same command is given again. One seed of each model.
set -euo pipefail

out=${1:?give a folder for the results: bash recipes/lab/diagnosis.sh OUT}
here=$(dirname "$0")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
sampling=(--temperature 1 --top-p 1 --max-new-tokens 160 --batch-size 400 --processes 1)
steps=40 # of GRPO, two digits
regimes=(base sft dpo grpo distilled merged)

train() { # FAMILY/RUN STAGE RECIPE MODEL, and flags over the recipe
    local folder=$out/train/$1
    [ -d "$folder/final" ] && return
    corrpo train "$2" --config "$here/$3" --model "$4" --output_dir "$folder" --resume \
        --eval_strategy no "${@:5}"
}

answers() { # FAMILY NAME MODEL, and options: responses to sums that training reads, with verdicts
    corrpo evaluate "$2=$3" --suite lab:training-sums --output "$out/answers/$1" "${sampling[@]}" "${@:4}"
}

family() { # NAME BASE SFT, and the projections to measure
    local runs=$out/train/$1 answers=$out/answers/$1
    train "$1/grpo" grpo grpo.yaml "$3" --max_steps "$steps" --save_steps 20 --logging_steps 10
    answers "$1" student "$3" --problems 1000 --n 4
    train "$1/dpo" dpo dpo.yaml "$3" --dataset "$answers/student/lab-training-sums/generations.parquet" \
        --max_steps 60 --save_steps 20
    answers "$1" teacher "$runs/grpo/final" --problems 4000 --n 1
    train "$1/distilled" sft sft.yaml "$2" --dataset "$answers/teacher/step-0000$steps/lab-training-sums/generations.parquet" \
        --max_steps 600 --save_steps 200 --logging_steps 50 --learning_rate 2e-3
    [ -d "$runs/merged" ] || corrpo merge "$3" "$runs/grpo/final" --output "$runs/merged"

    local -A models=(
        [base]=$2 [sft]=$3 [dpo]=$runs/dpo/final [grpo]=$runs/grpo/final
        [distilled]=$runs/distilled/final [merged]=$runs/merged
    )
    local regime
    for regime in "${regimes[@]}"; do
        corrpo measure "${models[$regime]}" --samples lab:reasoning --output "$out/measured/$1/$regime" \
            --projections "${@:4}" --untrained --max-tokens 16 --max-new-tokens 160 --batch-size 64
        corrpo evaluate "$regime=${models[$regime]}" --suite lab:sums --problems 300 --n 2 \
            --output "$out/evaluated/$1/$regime" "${sampling[@]}"
        labels+=("$1/$regime=$out/measured/$1/$regime")
    done
}

labels=()
corrpo lab build --output "$out/lab" --family mamba2 --kind reasoning
family qwen2 lab:qwen2/base lab:qwen2/reasoning q k v o
family llama lab:llama/base lab:llama/reasoning q k v o
family mamba2 "$out/lab/checkpoints/mamba2/base" "$out/lab/checkpoints/mamba2/reasoning" in_proj out_proj
corrpo diagnose "${labels[@]}" --evaluated "$out/evaluated" --against base sft --output "$out/diagnosis"
