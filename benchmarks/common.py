"""What the benchmarks share: the model they are about, and times and memory taken in one run.

The machines are noisy, so no time is worth anything by itself: every speed is printed as a ratio to another
time of the same run, and both are the least of several interleaved repetitions.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from corrpo.statistics import Correlation, Difference

LENGTH, TARGETS = 128, 96
VOCABULARY = 32_000


def benchmark_model(vocabulary: int = VOCABULARY) -> nn.Module:
    """Qwen2 shape, d = 512, 8 layers, 8 heads, 2 KV heads, ff 1408, float32, random weights."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    return Qwen2ForCausalLM(config).eval()


def qwen_half_billion() -> Any:
    """The shape of Qwen2.5-0.5B, float32, random weights: 494 million parameters."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return Qwen2ForCausalLM(config).eval()


def sequence(
    length: int = LENGTH, targets: int = TARGETS, vocabulary: int = VOCABULARY
) -> tuple[Tensor, range]:
    """Random token ids [length] and the positions of the last `targets` of them."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(vocabulary, (length,), generator=generator), range(length - targets, length)


def training_step(model: nn.Module, ids: Tensor) -> Callable[[], None]:
    """One forward and backward of the mean loss over the sequence, all weights trained."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model(input_ids=ids[None], labels=ids[None], use_cache=False).loss.backward()

    return step


def least_seconds(calls: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """The least time of each call over `repeats` interleaved rounds, after one round to warm up."""
    best = dict.fromkeys(calls, float("inf"))
    for round_ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def shown(result: Correlation | Difference, digits: int = 2, sign: str = "") -> str:
    """A value with its interval in brackets, or why there is none."""
    if result.value is None:
        return str(result.reason)
    how = f"{sign}.{digits}f"
    value = f"{result.value:{how}}"
    return value if result.low is None else f"{value} [{result.low:{how}}, {result.high:{how}}]"


@contextmanager
def heading(title: str) -> Iterator[None]:
    """Print a title before, and an empty line after."""
    print(f"## {title}\n")
    yield
    print()


def table(header: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
