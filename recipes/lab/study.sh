#!/usr/bin/env bash
# The study on the lab: does CorR-PO beat GRPO and its controls, by what the plan of each experiment says?
#   main            17 arms, five seeds, both families, sums
#   sizes           grpo, corrpo and shuffle on a smaller and a larger qwen2
#   reworded-sums   the same arms on sums in words that the models never read: out of distribution
#   sorting         the same arms on a task that is no arithmetic
#   no-verifier     the inversion as the only reward, beside its opposite and the same rewards shuffled
# The models that do not ship are trained first, from their seed, into OUT/models; the rest is in OUT/NAME.
#
#   bash recipes/lab/study.sh out/study        (corrpo on the PATH)
#
# Nothing is downloaded. Whatever was stopped goes on when the same command is given again, and what is
# finished is not done again. The recipes name their models in out/study; for another folder they are
# rewritten, into OUT/recipes. On two cores the models take 20 minutes, main about two hours, the next
# three 20 to 25 minutes each, the last about 50.
set -euo pipefail

out=${1:?give a folder for the results: bash recipes/lab/study.sh OUT}
here=$(dirname "$0")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
mkdir -p "$out/recipes"

build() { # NAME, and flags: a base and a reasoning model, or what the flags make of that
    corrpo lab build --output "$out/models/$1" --seed 0 --kind reasoning "${@:2}"
}

experiment() { # NAME RECIPE: all its runs, on all cores
    sed "s#out/study/#$out/#" "$here/$2" >"$out/recipes/$2"
    corrpo experiment "$out/recipes/$2" --output "$out/$1"
}

build width-128 --width 128 --family qwen2 & # a core for it; the two others take the second
build width-48 --width 48 --family qwen2
build sorting --task sorting --shipped-base
wait "$!"

experiment main experiment.yaml
experiment sizes experiment_sizes.yaml
experiment reworded-sums experiment_reworded_sums.yaml
experiment sorting experiment_sorting.yaml
experiment no-verifier experiment_no_verifier.yaml
