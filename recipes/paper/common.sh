# Sourced by the scripts beside it: where results go, prompts, and the models of each type.
#
# The paper's exact checkpoints and sample sets are not known to us. These models are the public ones of
# each type, and the samples are the first 200 problems of MATH-500 and of GSM8K, asked as corrpo evaluate
# asks them.
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

from corrpo.evaluation.suites import load_suite

suite = load_suite(sys.argv[1], problems=200)
rows = [
    {"id": each.id, "prompt": suite.prompt.format(problem=each.problem), "answer": each.answer}
    for each in suite.problems
]
Path(sys.argv[2]).write_text("".join(json.dumps(row) + "\n" for row in rows))
PYTHON
}

measure() { # MODEL SUITE FOLDER: 64 tokens of each response, all layers, exactly
    corrpo measure "$1" --samples "$out/$2.jsonl" --output "$3" --dtype bfloat16 \
        --max-tokens 64 --max-new-tokens 4096 --batch-size 64
}

accelerated() { # the words of corrpo train, on 8 GPUs
    accelerate launch --config_file "$recipes/accelerate/zero3.yaml" -m corrpo.cli.main train "$@"
}

stage() { # FAMILY STAGE RECIPE FOLDER, and flags: a stage of training, gone on with where it was stopped
    [ -d "$4/final" ] || accelerated "$2" --config "$recipes/${recipe[$1]}/$3" --output_dir "$4" --resume "${@:5}"
}
