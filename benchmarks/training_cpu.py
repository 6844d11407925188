"""What training on a CPU takes as TRL does it and as `corrpo train` does, at the shape of Gemma 3 270M.

In one process, in turn, on one thread and on all that torch takes, with nothing else on the machine; with
`bf16` too where the CPU has bfloat16. Random weights: the arithmetic is the same. Some ten minutes.
"""

import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GenerationConfig
from trl.trainer.utils import add_fused_lm_head

from common import heading, table
from corrpo.models.generation.on_cpu import generating_on_cpu
from corrpo.models.matrix_products import bfloat16_products, has_bfloat16
from corrpo.training.cpu_token_scores import token_scores_on_cpu

ROUNDS = 3
PROMPT, RESPONSE = 80, 96
ROLLOUTS = 8
"""Rollouts that are drawn at once."""
SCORED = 2
"""Rollouts of one backward pass."""


def gemma() -> Gemma3ForCausalLM:
    """The shape of Gemma 3 270M, float32, random weights."""
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
    return Gemma3ForCausalLM(config)


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


def seconds(call: Callable[[Gemma3ForCausalLM], None], model: Gemma3ForCausalLM, way: str) -> float:
    """Time of a call, in one of the `ways`."""
    with ExitStack() as stack:
        if way != "TRL's own":
            stack.enter_context(token_scores_on_cpu(torch.device("cpu")))
            stack.enter_context(generating_on_cpu(model))
        if way.endswith("bf16"):
            stack.enter_context(bfloat16_products())
        start = time.perf_counter()
        call(model)
        return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    ways = ["TRL's own", "corrpo train", *(["with bf16"] if has_bfloat16() else [])]
    threads = torch.get_num_threads()
    model = gemma()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    rows = []
    for count in dict.fromkeys((1, threads)):
        torch.set_num_threads(count)
        for name, call, tokens in (
            (f"drawing {ROLLOUTS} responses at once", drawing, ROLLOUTS * RESPONSE),
            (f"learning from {SCORED} responses at once", learning, SCORED * RESPONSE),
        ):
            for way in ways:
                seconds(call, model, way)
            taken = np.array([[seconds(call, model, way) for way in ways] for _ in range(ROUNDS)])
            speeds = [f"{tokens / value:.1f}" for value in np.median(taken, axis=0)]
            ratios = [f"{np.median(taken[:, 0] / taken[:, i]):.2f}" for i in range(1, len(ways))]
            rows.append([name, str(count), *speeds, *ratios])
    with heading("Training on a CPU: response tokens a second, shape of Gemma 3 270M"):
        table(["what", "threads", *ways, *(f"ratio, {way}" for way in ways[1:])], rows)
        print(f"\nMedians of {ROUNDS} rounds. Responses of {RESPONSE} tokens to prompts of {PROMPT}.")


if __name__ == "__main__":
    main()
