# Sourced by the scripts beside it: where results go, prompts, and the models of each type.
#
# The paper's exact checkpoints, sample sets and settings are not known to us. These models are the public
# ones of each type, and the samples are the first 200 problems of MATH-500 and of GSM8K, asked as corrpo
# evaluate asks them. Responses end at 2,048 tokens to bound the time.
#
# What a measurement costs, by arithmetic, on a GPU of 80 GB. For a token with a prefix of 1,100 (the middle of
# a response of 2,048 with its prompt), forward and backward are 4 x 7e9 x 1,100 = 3e13 operations, 0.15 s at
# 200 TFLOP/s; the singular values of 4 x 28 gradients are eigenvalues in float64 of 56 matrices of size 1,100
# and 56 of size 512, one after the other, taken as 30 and 10 ms each: 2.2 s. That guess decides the cost, and
# we had no GPU to check it on. So 2.4 s a token, 8.5 hours for 64 tokens of 200 such responses, 2.1 hours
# for 16; of responses of 600 tokens, as base models write them, a third.
set -euo pipefail

out=${1:?give a folder for the results: bash $0 OUT}
recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$out"

declare -A base=([qwen]=Qwen/Qwen2.5-7B [llama]=meta-llama/Llama-3.1-8B)
declare -A safety=([qwen]=Qwen/Qwen2.5-7B-Instruct [llama]=meta-llama/Llama-3.1-8B-Instruct)
declare -A reasoning=(
    [qwen]=deepseek-ai/DeepSeek-R1-Distill-Qwen-7B [llama]=deepseek-ai/DeepSeek-R1-Distill-Llama-8B
)
declare -A recipe=([qwen]=qwen2.5-7b [llama]=llama-3.1-8b)

prompts() { # SUITE: writes OUT/SUITE.jsonl
    [ -s "$out/$1.jsonl" ] || python - "$1" "$out/$1.jsonl" <<'PYTHON'
import json
import sys
from pathlib import Path

from corrpo.evaluation.suites.load_suite import load_suite

suite = load_suite(sys.argv[1], problems=200)
rows = [
    {"id": each.id, "prompt": suite.prompt.format(problem=each.problem), "answer": each.answer}
    for each in suite.problems
]
Path(sys.argv[2]).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
PYTHON
}

measure() { # MODEL SUITE FOLDER: 64 tokens of each response, all layers, exactly
    corrpo measure "$1" --samples "$out/$2.jsonl" --output "$3" --dtype bfloat16 \
        --max-tokens 64 --max-new-tokens 2048 --batch-size 64
}

track() { # FAMILY RUN, and words: rho at every checkpoint on 8 GPUs, from 16 tokens of each response
    corrpo track "${@:3}" --start "${base[$1]}" --samples "$out/math500.jsonl" --output "$out/track/$1/$2" \
        --processes 8 --dtype bfloat16 --max-tokens 16 --max-new-tokens 2048 --batch-size 64
}

evaluate() { # FAMILY RUN, and words: accuracy at every checkpoint
    corrpo evaluate "${@:3}" --start "${base[$1]}" --suite math500 aime24 --output "$out/evaluated/$1/$2" \
        --backend vllm --dtype bfloat16
}

stage() { # FAMILY STAGE RECIPE FOLDER, and flags: a stage of training on 8 GPUs, which goes on where it stopped
    [ -d "$4/final" ] || accelerate launch --config_file "$recipes/accelerate/zero3.yaml" \
        -m corrpo.cli.main train "$2" --config "$recipes/${recipe[$1]}/$3" --output_dir "$4" --resume "${@:5}"
}
