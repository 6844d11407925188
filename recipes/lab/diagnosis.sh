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
# qwen2 and llama are the lab's attention families. mamba2 has no attention; its base and SFT models are
# trained here by the lab's own recipe. Each model answers the same 64 held-out sums for rho, and 300 for
# accuracy. All responses are read by random weights of the same architecture too, as a control.
#
#   bash recipes/lab/diagnosis.sh OUT [FAMILY ...]   (corrpo on the PATH; make diagnosis uses the .venv)
#
# Cost: about an hour of one CPU core, 100 MB of disk, nothing downloaded. A run that was stopped goes on when
# the same command is given again. One seed of each model.
set -euo pipefail

out=${1:?give a folder for the results: bash recipes/lab/diagnosis.sh OUT}
families=("${@:2}")
[ "${#families[@]}" -gt 0 ] || families=(qwen2 llama mamba2)
here=$(dirname "$0")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
measuring=(--samples lab:reasoning --untrained --max-tokens 12 --max-new-tokens 160 --batch-size 64)
sampling=(--temperature 1 --top-p 1 --max-new-tokens 160 --batch-size 400 --processes 1)

train() { # FAMILY/RUN STAGE RECIPE MODEL, and flags over the recipe
    local folder=$out/train/$1
    [ -d "$folder/final" ] && return
    corrpo train "$2" --config "$here/$3" --model "$4" --output_dir "$folder" --resume \
        --eval_strategy no "${@:5}"
}

answers() { # FAMILY NAME MODEL, and options: responses to sums that training reads, with verdicts
    corrpo evaluate "$2=$3" --suite lab:training-sums --output "$out/answers/$1/$2" "${sampling[@]}" "${@:4}"
}

family() { # NAME BASE SFT, and the projections to measure
    local runs=$out/train/$1 read=$out/answers/$1 measured=$out/measured/$1
    train "$1/grpo" grpo grpo.yaml "$3" --max_steps 30 --save_steps 10 --logging_steps 10
    answers "$1" sft "$3" --problems 600 --n 4
    train "$1/dpo" dpo dpo.yaml "$3" --dataset "$read/sft/sft/lab-training-sums/generations.parquet" \
        --max_steps 40 --save_steps 20
    answers "$1" grpo "$runs/grpo/final" --problems 3000 --n 1
    train "$1/distilled" sft sft.yaml "$2" --max_steps 800 --save_steps 200 --logging_steps 100 \
        --dataset "$read/grpo/grpo/step-000030/lab-training-sums/generations.parquet" \
        --learning_rate 2e-3 --lr_scheduler_type constant_with_warmup
    [ -d "$runs/merged" ] || corrpo merge "$3" "$runs/grpo/final" --output "$runs/merged"

    local made=("dpo=$runs/dpo/final" "grpo=$runs/grpo/final")
    made+=("distilled=$runs/distilled/final" "merged=$runs/merged")
    local model
    for model in "base=$2" "sft=$3" "${made[@]}"; do
        corrpo measure "${model#*=}" --output "$measured/${model%%=*}" "${measuring[@]}" --projections "${@:4}"
        labels+=("$1/${model%%=*}=$measured/${model%%=*}")
    done
    corrpo evaluate "base=$2" "sft=$3" "${made[@]}" --suite lab:sums --problems 300 --n 2 \
        --output "$out/evaluated/$1" "${sampling[@]}"
}

labels=()
for name in "${families[@]}"; do
    if [ "$name" = mamba2 ]; then
        corrpo lab build --output "$out/lab" --family mamba2 --kind reasoning
        built=$out/lab/checkpoints/mamba2
        family mamba2 "$built/base" "$built/reasoning" in_proj out_proj
    else
        family "$name" "lab:$name/base" "lab:$name/reasoning" q k v o
    fi
done
corrpo diagnose "${labels[@]}" --evaluated "$out/evaluated" --against base sft --output "$out/diagnosis"
