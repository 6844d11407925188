#!/usr/bin/env bash
# How well each estimator stands in for exact gradients, on the two smaller models of models.sh and on the lab, with a spot
# check on the third: rollouts in groups with every signal of their tokens, agreement with length, and the cost of a
# further token and of a training step.
#
#   bash recipes/real/fidelity.sh OUT [MODELS]       (from the root of the repository; python with corrpo on the PATH)
#
# Writes OUT/NAME.parquet and the tables OUT/*.md. Exact gradients take most of the time: about two hours of one core for
# Gemma 3 270M, five for Qwen2.5-Coder 0.5B, one for the spot check. It can be stopped at any time and goes on from there.
set -euo pipefail

out=${1:?give a folder for the results: bash recipes/real/fidelity.sh OUT [MODELS]}
models=${2:-real/models}
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
export PYTHONPATH=benchmarks:benchmarks/fidelity
mkdir -p "$out"

convert() { # FILE FOLDER
    [ -d "$models/converted/$2" ] || corrpo convert "$models/$1" "$models/converted/$2"
}

rollouts() { # NAME MODEL OPTION...
    python benchmarks/fidelity/rollouts.py "$2" "$out/$1" "${@:3}"
}

convert gemma-3-270m-q4_k_m.gguf gemma3-270m-base
convert qwen2.5-coder-0.5b-instruct.gguf qwen2.5-coder-0.5b-instruct
convert qwen2.5-coder-1.5b-instruct.gguf qwen2.5-coder-1.5b-instruct
gemma=$models/converted/gemma3-270m-base
qwen=$models/converted/qwen2.5-coder-0.5b-instruct

for family in qwen2 llama; do
    rollouts "lab-$family" "lab:$family/reasoning" --samples lab:reasoning
done
rollouts gemma3-270m "$gemma" --tokens 48
rollouts qwen2.5-coder-0.5b "$qwen" --tokens 32
python benchmarks/fidelity/sampling.py "$out"/{lab-qwen2,lab-llama,gemma3-270m,qwen2.5-coder-0.5b}.parquet |
    tee "$out/sampling.md"
rollouts qwen2.5-coder-1.5b "$models/converted/qwen2.5-coder-1.5b-instruct" --groups 4 --rollouts 2 --tokens 8 \
    --signals exact own last pruned-8 pruned-32
python benchmarks/fidelity/table.py "$out"/*.parquet | tee "$out/fidelity.md"

for name in gemma3-270m qwen2.5-coder-0.5b; do
    weights=$gemma
    [ $name = gemma3-270m ] || weights=$qwen
    python benchmarks/fidelity/lengths.py "$weights" "$out/lengths-$name" | tee "$out/lengths-$name.md"
    for targets in 3 9; do
        python benchmarks/fidelity/lengths.py "$weights" "$out/$name-cost-$targets" --lengths 128 512 2048 --texts 1 \
            --targets $targets | tee "$out/$name-cost-$targets.md"
    done
done
python benchmarks/fidelity/steps.py "$gemma" | tee "$out/steps.md"
