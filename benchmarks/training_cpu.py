"""What training on a CPU takes as TRL does it and as `corrpo train` does, at the shape of Gemma 3 270M.

Both in one process, in turn, on one thread and in seconds of its processor time, which other work on the
machine leaves nearly as they are. Random weights: the arithmetic is the same. A few minutes of one core.
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
from corrpo.training.cpu_draws import draws_on_cpu
from corrpo.training.cpu_token_scores import token_scores_on_cpu

ROUNDS = 3
PROMPT, RESPONSE = 80, 96
ROLLOUTS, DRAWN = 8, 24
"""Rollouts that are drawn at once, and tokens of each that are timed."""
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
    """Draw tokens for 8 prompts of 80 tokens each as GRPOTrainer does."""
    ids = torch.randint(2, 262_144, (ROLLOUTS, PROMPT))
    config = GenerationConfig(
        max_new_tokens=DRAWN, do_sample=True, top_k=0, top_p=1.0, pad_token_id=0, eos_token_id=1
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


def seconds(call: Callable[[Gemma3ForCausalLM], None], model: Gemma3ForCausalLM, quick: bool) -> float:
    """Processor time of a call, TRL's way or that of `corrpo train`."""
    with ExitStack() as stack:
        if quick:
            stack.enter_context(token_scores_on_cpu(torch.device("cpu")))
            stack.enter_context(draws_on_cpu(model))
        start = time.process_time()
        call(model)
        return time.process_time() - start


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    model = gemma()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    rows = []
    for name, call, tokens in (
        ("drawing 8 rollouts at once", drawing, ROLLOUTS * DRAWN),
        ("learning from responses of 96 tokens", learning, SCORED * RESPONSE),
    ):
        seconds(call, model, quick=True)
        taken = np.array([[seconds(call, model, quick) for quick in (False, True)] for _ in range(ROUNDS)])
        speeds = [f"{tokens / value:.1f}" for value in np.median(taken, axis=0)]
        rows.append([name, *speeds, f"{np.median(taken[:, 0] / taken[:, 1]):.2f}"])
    with heading("Training on a CPU: response tokens a second of one core, shape of Gemma 3 270M"):
        table(["what", "TRL's own", "corrpo train", "ratio"], rows)
        print(f"\nMedians of {ROUNDS} rounds. Prompts of {PROMPT} tokens, {DRAWN} tokens drawn for each.")


if __name__ == "__main__":
    main()
