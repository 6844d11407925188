#!/usr/bin/env bash
# Figures 3, 4 and 5 of the paper on Gemma 3 270M: rho and accuracy at checkpoints of
#   sft-then-grpo      200 steps of SFT on reasoning traces (0, 25, 50, 100, 150, 200), then 60 of GRPO (30, 60)
#   pure-grpo          60 steps of GRPO from the base model
#   grpo, corrpo       60 steps from the end of SFT, without and with the inversion in the reward
# by the recipes beside this file. Rho is measured with exact gradients of four tokens of 48 responses: in OUT/fixed
# held-out traces, the same for all checkpoints, in OUT/own what each checkpoint writes itself. Accuracy is that on
# 140 held-out problems, 35 of each of four tasks, one response each at temperature 1: an interval of some 7 points to either
# side. The published curves are laid over. Then `python recipes/gemma3-270m/publish.py OUT docs/real` makes the page.
#
#   bash recipes/gemma3-270m/curves.sh OUT [MODELS]        (from the root of the repository; corrpo on the PATH)
#
# MODELS, real/models if not given, is the folder of recipes/real/models.sh with its file of Gemma, whose SHA-256 that
# script checks.
# Cost: some 4.5 hours of two CPU cores with AMX and nothing else on them, as measured (SFT 0.5, GRPO 0.6, CorR-PO 0.8,
# pure GRPO 1.2, rho 0.8, responses 0.7), 13 GB of memory, 45 GB of disk; nothing is downloaded. Without bfloat16 it is
# longer: a step of SFT took 36 seconds on two cores with AVX2, and 8.5 here.
# `corrpo train sft --config recipes/gemma3-270m/sft.yaml --dry-run` tells your own.
# A run that was stopped goes on when the same command is given again. It loses 25 steps of SFT, 6 of RL or a batch of 48
# responses at most, some 12 minutes. In the end 17 GB stay: the checkpoints that are followed, without the optimizer.
# One seed each. To go on with it on another machine, copy OUT and MODELS whole and with the times of their files
# (rsync -a, tar), and give the same command with the same versions of the packages.
set -euo pipefail

out=${1:?give a folder for the results: bash recipes/gemma3-270m/curves.sh OUT [MODELS]}
models=${2:-real/models}
here=$(dirname "${BASH_SOURCE[0]}")
base=$models/converted/gemma3-270m-base
runs=$out/train
export OMP_NUM_THREADS=1 THP_MEM_ALLOC_ENABLE=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1

train() { # RUN STAGE RECIPE MODEL STEP...: a run, with the checkpoints of these steps; words name them
    local folder=$runs/$1 name=rl checkpoint
    if [ "$2" = sft ]; then name=sft; fi
    rm -rf "$folder"/half-written-*
    [ -d "$folder/final" ] || OMP_NUM_THREADS=2 corrpo train "$2" --config "$here/$3" --model "$4" \
        --dataset "$out/traces/train.jsonl" --output_dir "$folder" --resume
    words=()
    for checkpoint in "${@:5}"; do words+=("$name:$checkpoint=$folder/checkpoint-$checkpoint"); done
    for checkpoint in "$folder"/checkpoint-* "$folder"/half-written-*; do
        case " ${words[*]} " in
            *"=$checkpoint "*) rm -f "$checkpoint/optimizer.pt" ;; # 2.1 GB, which only --resume needs
            *) rm -rf "$checkpoint" ;;
        esac
    done
}

follow() { # RUN START WORD...: rho and accuracy at each checkpoint, two checkpoints at a time
    local measuring=(--start "$2" --limit 48 --max-tokens 4 --template plain --processes 2)
    local writing=(--temperature 1 --top-p 1 --max-new-tokens 160 --batch-size 48)
    corrpo track "${@:3}" "${measuring[@]}" --samples "$out/traces/test.jsonl" --output "$out/fixed/gemma3-270m/$1"
    corrpo track "${@:3}" "${measuring[@]}" "${writing[@]}" --samples "$out/traces/test_prompts.jsonl" \
        --output "$out/own/gemma3-270m/$1"
    corrpo evaluate "${@:3}" --start "$2" --suite "$out/traces/test.jsonl" --prompt '{problem}' --template plain \
        --problems 140 --n 1 "${writing[@]}" --output "$out/evaluated/gemma3-270m/$1" --processes 2
}

share() { # FROM TO KEY...: checkpoints of the run TO that were measured for the run FROM
    local results key from to
    for results in fixed own evaluated; do
        from=$out/$results/gemma3-270m/$1 to=$out/$results/gemma3-270m/$2
        if [ -d "$to" ] || [ ! -d "$from" ]; then continue; fi
        rm -rf "$out/shared"
        mkdir -p "$out/shared/rl"
        for key in "${@:3}"; do cp -a "$from/$key" "$out/shared/$key"; done
        [ ! -f "$from/track.json" ] || cp -a "$from/track.json" "$out/shared"
        mv "$out/shared" "$to"
    done
}

made_from() { (cd "$here" && sha256sum {sft,grpo,corrpo,pure-grpo}.yaml ../traces/{make_traces,reasoning_traces/*}.py); }

mkdir -p "$out"
[ -f "$out/made-from.txt" ] || made_from >"$out/made-from.txt"
if ! made_from | diff "$out/made-from.txt" - >&2; then
    echo "$out was begun with other recipes or traces (the lines above): give another folder, or remove it" >&2
    exit 1
fi

[ -d "$base" ] || corrpo convert "$models/gemma-3-270m-q4_k_m.gguf" "$base"
[ -d "$out/traces" ] || python "$here/../traces/make_traces.py" --output "$out/traces" --length brief --train 6000 \
    --tasks chain_sum leg_counting simple_equations knights_knaves

train sft sft sft.yaml "$base" 25 50 100 150 200
sft=("${words[@]}")
train grpo grpo grpo.yaml "$runs/sft/final" 30 60
follow sft-then-grpo "$base" "${sft[@]}" "${words[@]}"
share sft-then-grpo grpo rl/step-000030 rl/step-000060
follow grpo "$runs/sft/final" "${words[@]}"

train corrpo corrpo corrpo.yaml "$runs/sft/final" 30 60
share grpo corrpo rl/step-000000
follow corrpo "$runs/sft/final" "${words[@]}"

train pure-grpo grpo pure-grpo.yaml "$base" 30 60
follow pure-grpo "$base" "${words[@]}"

corrpo report "$out/fixed" "$out/evaluated" --output "$out/report-fixed" --axis stretched --published
corrpo report "$out/own" "$out/evaluated" --output "$out/report" --axis stretched --published
