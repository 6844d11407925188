"""What training on a CPU takes as TRL does it and as `corrpo train` does, at the shape of Gemma 3 270M.

    python benchmarks/training_cpu.py

In turn on all threads that torch takes, with nothing else on the machine; with `bf16` too where the CPU has
bfloat16: TRL's is `torch.autocast` of each forward pass. Random weights: the arithmetic is the same. Some 25
minutes.
"""

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    PrinterCallback,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from common import heading, table
from corrpo import load_model
from corrpo.models.generation.on_cpu import generating_on_cpu
from corrpo.models.matrix_products import bfloat16_products, has_bfloat16
from corrpo.training.cpu_token_scores import token_scores_on_cpu

ROUNDS = 3
PROMPT, RESPONSE = 80, 96
ROLLOUTS = 8
"""Rollouts that are drawn at once."""
SCORED = 2
"""Rollouts of one backward pass."""
WAYS = (
    ("TRL", "TRL, bf16", "corrpo train", "corrpo train, bf16") if has_bfloat16() else ("TRL", "corrpo train")
)


def gemma() -> Gemma3ForCausalLM:
    """The shape of Gemma 3 270M, float32, random weights, with the head that TRL's trainers give a model."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=262_144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
    )
    model = Gemma3ForCausalLM(config)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    return model


def entered(way: str, model: Gemma3ForCausalLM) -> ExitStack:
    """The context of one of `WAYS`."""
    with ExitStack() as stack:
        if way.startswith("corrpo"):
            stack.enter_context(token_scores_on_cpu(torch.device("cpu")))
            stack.enter_context(generating_on_cpu(model))
            if way.endswith("bf16"):
                stack.enter_context(bfloat16_products())
        elif way.endswith("bf16"):
            stack.callback(setattr, model, "forward", model.forward)
            model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
        return stack.pop_all()


def drawing(model: Gemma3ForCausalLM) -> None:
    """Draw responses of 96 tokens to 8 prompts as GRPOTrainer does."""
    ids = torch.randint(2, 262_144, (ROLLOUTS, PROMPT))
    config = GenerationConfig(
        max_new_tokens=RESPONSE, do_sample=True, top_k=0, top_p=1.0, pad_token_id=0, eos_token_id=1
    )
    with torch.no_grad():
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)


def learning(model: Gemma3ForCausalLM) -> None:
    """Score the responses to two prompts and go back, as GRPOTrainer and SFTTrainer do; no optimizer step."""
    ids = torch.randint(2, 262_144, (SCORED, PROMPT + RESPONSE))
    labels = ids.clone()
    labels[:, :PROMPT] = -100
    model.zero_grad(set_to_none=True)
    model(
        input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, fused_lm_head=True
    ).loss.backward()


def seconds(call: Callable[..., object], *arguments: Any) -> float:
    """Time of a call."""
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def seconds_in(way: str, model: Gemma3ForCausalLM, call: Callable[[Gemma3ForCausalLM], None]) -> float:
    """Time of a call in one of `WAYS`."""
    with entered(way, model):
        return seconds(call, model)


def after_the_first(timed: list[Callable[[], float]]) -> np.ndarray:
    """Seconds that each of `timed` returns, in turn, [rounds, timed]; one round before them warms up."""
    return np.array([[take() for take in timed] for _ in range(ROUNDS + 1)])[1:]


class StepsInTurn(TrainerCallback):
    """Has each step of a trainer done in one of `WAYS`, in turn, and times it; the first of each warms up."""

    def __init__(self, model: Gemma3ForCausalLM):
        self.model, self.taken = model, []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Enter the way of this step."""
        self.way = entered(WAYS[len(self.taken) % len(WAYS)], self.model)
        self.start = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Leave it."""
        self.taken.append(time.perf_counter() - self.start)
        self.way.close()


def grpo_steps(model: Gemma3ForCausalLM) -> np.ndarray:
    """Seconds of whole steps of GRPOTrainer with 8 rollouts of 4 prompts, [rounds, ways]."""
    tokenizer = load_model("lab:qwen2/base")[1]
    prompts = ["".join(np.random.default_rng(i).choice(list("abcdefgh "), PROMPT)) for i in range(64)]
    turns = StepsInTurn(model)
    with TemporaryDirectory() as folder:
        config = GRPOConfig(
            folder,
            max_steps=len(WAYS) * (ROUNDS + 1),
            per_device_train_batch_size=SCORED,
            gradient_accumulation_steps=ROLLOUTS // SCORED,
            num_generations=2,
            max_completion_length=RESPONSE,
            gradient_checkpointing=False,
            bf16=False,  # entered with the way
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = GRPOTrainer(
            model,
            reward_funcs=lambda completions, **_: [float(i % 2) for i in range(len(completions))],
            args=config,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=tokenizer,
            callbacks=[turns],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return np.array(turns.taken).reshape(-1, len(WAYS))[1:]


def in_turn(call: Callable[[Gemma3ForCausalLM], None], model: Gemma3ForCausalLM) -> np.ndarray:
    """Seconds of a call in each of `WAYS`, [rounds, ways]."""
    return after_the_first([partial(seconds_in, way, model, call) for way in WAYS])


def compare_ways() -> None:
    """Print the table of `WAYS`."""
    model = gemma()
    drawn, scored = ROLLOUTS * RESPONSE, SCORED * RESPONSE
    measured = (
        (f"drawing {ROLLOUTS} responses at once", drawn, in_turn(drawing, model)),
        (f"learning from {SCORED} responses at once", scored, in_turn(learning, model)),
        (f"a GRPO step of {ROLLOUTS} rollouts", drawn, grpo_steps(model)),
    )
    rows = []
    for name, tokens, taken in measured:
        speeds, ratios = tokens / np.median(taken, axis=0), np.median(taken[:, :1] / taken, axis=0)
        cells = [f"{speed:.1f} ({ratio:.2f})" for speed, ratio in zip(speeds, ratios, strict=True)]
        rows.append([name, *cells])
    with heading("Training on a CPU: response tokens a second (times TRL's), shape of Gemma 3 270M"):
        table(["what", *WAYS], rows)
        print(
            f"\nMedians of {ROUNDS} rounds, {torch.get_num_threads()} threads. "
            f"Responses of {RESPONSE} tokens to prompts of {PROMPT}."
        )


def compare_optimizers() -> None:
    """Print what a step of AdamW takes as TRL has it by default (fused) and otherwise."""
    model = gemma()
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    steps = {
        name: torch.optim.AdamW(model.parameters(), lr=1e-6, fused=fused).step
        for name, fused in (("adamw_torch", False), ("adamw_torch_fused", True))
    }
    taken = after_the_first([partial(seconds, step) for step in steps.values()])
    print_two("A step of the optimizer on a CPU: seconds, 268 million parameters", list(steps), taken)


def compare_pages() -> None:
    """Print what `learning` takes with memory in pages of 4 KiB and in large ones, a process each."""
    settings = {"small pages": "0", "large pages": "1"}

    def taken(value: str) -> float:
        environment = os.environ | {"THP_MEM_ALLOC_ENABLE": value}
        command = [sys.executable, __file__, "learning"]
        run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return float(run.stdout)

    rounds = np.array([[taken(value) for value in settings.values()] for _ in range(ROUNDS)])
    title = f"Learning on a CPU with `THP_MEM_ALLOC_ENABLE=1`: seconds, {SCORED} responses, {WAYS[-1]}"
    print_two(title, list(settings), rounds)


def print_two(title: str, names: list[str], taken: np.ndarray) -> None:
    """Print medians of seconds [rounds, 2] and their ratio."""
    medians = [f"{value:.2f}" for value in np.median(taken, axis=0)]
    with heading(title):
        table([*names, "ratio"], [[*medians, f"{np.median(taken[:, 0] / taken[:, 1]):.2f}"]])


def learning_alone() -> None:
    """Print the seconds of `learning` in the last of `WAYS`, the median of rounds, in this process."""
    print(np.median(after_the_first([partial(seconds_in, WAYS[-1], gemma(), learning)])))


def main() -> None:
    """Print the tables."""
    warnings.filterwarnings("ignore")
    compare_ways()
    compare_optimizers()
    compare_pages()


if __name__ == "__main__":
    learning_alone() if sys.argv[1:] == ["learning"] else main()
