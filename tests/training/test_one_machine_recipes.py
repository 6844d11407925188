"""The recipes for one machine take their first step on small models of the same families, whole and LoRA."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, Qwen2Config

from commands import ROOT
from corrpo.lab.tokenizer import build_tokenizer
from corrpo.training.recipe import parse_recipe
from corrpo.training.run_stage import train
from corrpo.training.stages import config_class
from reasoning_traces import TASKS
from reasoning_traces.splits import as_chat, make_splits

FOLDERS = ("gemma3-270m", "qwen2.5-0.5b", "qwen2.5-1.5b")
STAGES = {"sft": "sft", "grpo": "grpo", "corrpo": "corrpo", "pure-grpo": "grpo"}
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
SMALL = {
    "max_steps": "1",
    "logging_steps": "1",
    "save_strategy": "no",
    "use_cpu": "true",
    "bf16": "false",
    "max_samples": "8",
}
SMALL_BATCH = {"per_device_train_batch_size": "8", "gradient_accumulation_steps": "1"}
SMALL_ROLLOUTS = SMALL_BATCH | {"max_completion_length": "12"}
LORA = ["--use_peft", "true", "--lora_target_modules", "all-linear", "--lora_r", "4"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder of a model by the name of a folder of recipes."""
    made = {}
    for folder in FOLDERS:
        path = tmp_path_factory.mktemp("models") / folder
        tokenizer = build_tokenizer()
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>", "<user>", "<assistant>"]})
        tokenizer.model_max_length = SHAPE["max_position_embeddings"]
        kind = Qwen2Config
        if folder.startswith("gemma"):
            kind, tokenizer.chat_template = Gemma3TextConfig, None
        special = {
            f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("eos", "pad", "bos")
        }
        heads = {"head_dim": 8} if kind is Gemma3TextConfig else {}
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(kind(vocab_size=len(tokenizer), **SHAPE, **special, **heads))
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        made[folder] = str(path)
    return made


@pytest.fixture(scope="module")
def traces():
    return make_splits({"train": 14, "validation": 7, "test": 7}, list(TASKS), "short", 0)["train"]


def as_hub(folder, name, traces):
    """Rows under the columns of the data set that a recipe names, from traces."""
    if folder.startswith("gemma"):
        return traces
    if name == "sft":
        chats = map(as_chat, traces)
        return [
            {"messages": [*chat["prompt"], *chat["completion"]], "num_tokens": 9, "source": "x"}
            for chat in chats
        ]
    return [{"question": row["prompt"], "answer": f"So it is.\n#### {row['answer']}"} for row in traces]


def first_step(folder, name, model, rows, output: Path, *more: str) -> dict:
    path = output / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changed = SMALL | (SMALL_BATCH if name == "sft" else SMALL_ROLLOUTS)
    changed |= {"model": model, "dataset": str(path), "output_dir": str(output / "out")}
    words = ["--config", str(ROOT / "recipes" / folder / f"{name}.yaml")]
    words += [word for key, value in changed.items() for word in (f"--{key}", value)]
    train(STAGES[name], *parse_recipe(config_class(STAGES[name]), [*words, *more]))
    return json.loads((output / "out" / "metrics.jsonl").read_text().splitlines()[0])


@pytest.mark.slow
@pytest.mark.parametrize("lora", [False, True], ids=["all", "lora"])
@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_recipe_takes_its_first_step(folder, name, lora, models, traces, tmp_path):
    more = [*LORA, "--optim", "adamw_torch"] if lora else []
    metrics = first_step(folder, name, models[folder], as_hub(folder, name, traces), tmp_path, *more)
    assert math.isfinite(metrics["loss"])
    assert metrics["grad_norm"] > 0 or name != "sft"
    assert (name == "corrpo") == ("inversion/rho_mean" in metrics)
    assert (name == "sft") or metrics["completions/mean_length"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("folder", FOLDERS[1:])
def test_the_twin_on_traces_takes_its_first_step(folder, name, models, traces, tmp_path):
    rows = [as_chat(row) for row in traces]
    more = [] if name == "sft" else ["--prompt_column", "prompt", "--rewards", "exact", "format"]
    assert math.isfinite(first_step(folder, name, models[folder], rows, tmp_path, *more)["loss"])
