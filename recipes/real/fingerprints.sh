#!/usr/bin/env bash
# Figures 1 and 2 of the paper on real weights: each model of models.sh on the reasoning, safety and base prompts
# beside this script, exact gradients of tokens of each response, and an untrained model of the same shape on the
# same tokens.
#
#   bash recipes/real/fingerprints.sh OUT [MODELS]       (corrpo on the PATH)
#
# MODELS, real/models if not given, is the folder of models.sh. Responses are the models' own, at temperature 1,
# cut at 128 tokens. Cost on two CPU cores: some hours for each model. A whole gradient of Qwen2.5-Coder 0.5B took 1 to
# 7 seconds of a core, by the core, one of the 1.5B 15 to 40, and its responses to a set half an hour. It can be stopped
# at any time and goes on from there.
set -euo pipefail

out=${1:?give a folder for the results: bash recipes/real/fingerprints.sh OUT [MODELS]}
models=${2:-real/models}
here=$(dirname "${BASH_SOURCE[0]}")
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

fingerprint() { # FILE FAMILY/TYPE TOKENS [OPTION...]: measure a model on the sets of prompts, beside its untrained control
    local weights=$models/converted/${2//\//-} set
    [ -d "$weights" ] || corrpo convert "$models/$1" "$weights"
    for set in reasoning safety base; do
        local template=auto
        [ "$set" = base ] && template=plain
        corrpo measure "$weights" --samples "$here/samples/$set.jsonl" --output "$out/$2/$set" \
            --template "$template" --max-new-tokens 128 --max-tokens "$3" --untrained "${@:4}"
    done
}

fingerprint gemma-3-270m-q4_k_m.gguf gemma3-270m/base 16
fingerprint qwen2.5-coder-0.5b-instruct.gguf qwen2.5-coder-0.5b/instruct 16
fingerprint qwen2.5-coder-1.5b-instruct.gguf qwen2.5-coder-1.5b/instruct 2 --batch-size 64
corrpo report "$out" --output "$out/report"
