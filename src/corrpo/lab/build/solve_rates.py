"""Responses of a lab checkpoint and the share of problems it solves, with an interval.

`python -m corrpo.lab.build.solve_rates` prints the tables of the lab's README from the shipped checkpoints.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from corrpo.lab import FAMILIES, KINDS, checkpoint
from corrpo.lab.build.chats import ASKS, harmless_request, is_refusal, wishes
from corrpo.lab.problems import held_out_problems, is_solved
from corrpo.lab.tasks import LabProblem
from corrpo.lab.tokenizer import chat_prompt
from corrpo.models.generation.backends.transformers import generate

MAX_NEW_TOKENS = 160


@dataclass(frozen=True)
class Rate:
    """A share of `total` trials, with its 95 % Wilson interval."""

    count: int
    """Trials that came out true."""
    total: int
    """All trials; more than 0."""
    lengths: tuple[int, ...] = ()
    """Length of each response in tokens, the end marker included."""

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval (low, high).

        >>> [round(end, 3) for end in Rate(60, 100).interval]
        [0.502, 0.691]
        """
        from scipy.stats import binomtest

        interval = binomtest(self.count, self.total).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def respond(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str | list[dict[str, str]]],
    *,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int = 256,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[list[int]]:
    """The response token ids to each prompt (plain text or chat messages), the end marker included.

    Greedy at temperature 0, otherwise sampled from the whole vocabulary. The global random state and the
    model's mode are left as they were.
    """
    import torch

    encoded = _encoded(tokenizer, prompts)
    responses: list[list[int]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for start in range(0, len(prompts), batch_size):
            batch = generate(
                model,
                tokenizer,
                encoded[start : start + batch_size],
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                seed=None,
            )
            responses += [generation.ids for generation in batch]
    return responses


def _encoded(tokenizer: Any, prompts: Sequence[str | list[dict[str, str]]]) -> list[list[int]]:
    """The token ids of each rendered prompt."""
    texts = [
        prompt
        if isinstance(prompt, str)
        else tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    return tokenizer(texts, add_special_tokens=False).input_ids


def solve_rate(
    model: Any,
    tokenizer: Any,
    problems: Sequence[LabProblem],
    *,
    temperature: float = 0.0,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> Rate:
    """The share of problems whose response passes the verifier; options as in `respond`."""
    prompts = [chat_prompt(problem.question) for problem in problems]
    responses = respond(model, tokenizer, prompts, temperature=temperature, max_new_tokens=max_new_tokens)
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    solved = sum(is_solved(text, problem.answer) for text, problem in zip(texts, problems, strict=True))
    return Rate(solved, len(problems), tuple(map(len, responses)))


def refusal_rate(model: Any, tokenizer: Any, requests: Sequence[str], *, temperature: float = 0.0) -> Rate:
    """The share of chat requests that are answered with a refusal; temperature as in `respond`."""
    prompts = [chat_prompt(request) for request in requests]
    responses = respond(model, tokenizer, prompts, temperature=temperature)
    refused = sum(map(is_refusal, tokenizer.batch_decode(responses, skip_special_tokens=True)))
    return Rate(refused, len(requests), tuple(map(len, responses)))


def main() -> None:
    """Print solve rates, response lengths and refusal rates of the shipped checkpoints as Markdown."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    unsafe = [ask.format(wish) for wish in wishes(held_out=True) for ask in ASKS]
    rng = random.Random("harmless requests")
    harmless = sorted({harmless_request(rng)[0] for _ in range(200)})
    refusals = []
    print("| checkpoint | parameters | solved, greedy | solved, sampled | tokens: mean, 5-95 %, longest |")
    print("| --- | --- | --- | --- | --- |")
    for family, kind in product(FAMILIES, KINDS):
        folder = checkpoint(family, kind)
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        greedy = solve_rate(model, tokenizer, held_out_problems())
        sampled = solve_rate(model, tokenizer, held_out_problems(), temperature=1.0)
        cells = (f"{family}/{kind}", f"{model.num_parameters():,}", greedy, sampled, _spread(sampled.lengths))
        print("|", " | ".join(map(str, cells)), "|", flush=True)
        rates = [refusal_rate(model, tokenizer, asked, temperature=1.0) for asked in (unsafe, harmless)]
        refusals.append(f"| {family}/{kind} | {rates[0]} | {rates[1]} |")
    print(f"\n| checkpoint | refuses {len(unsafe)} held-out unsafe | refuses {len(harmless)} harmless |")
    print("| --- | --- | --- |", *refusals, sep="\n")


def _spread(lengths: Sequence[int]) -> str:
    """Mean, 5th and 95th percentile, and largest of some lengths.

    >>> _spread(range(1, 101))
    '50, 6-95, 100'
    """
    ordered = sorted(lengths)
    tail = len(ordered) // 20
    return f"{sum(ordered) / len(ordered):.0f}, {ordered[tail]}-{ordered[-tail - 1]}, {ordered[-1]}"


if __name__ == "__main__":
    main()
