"""Models and tokenizers that are built or read once in a session: building them is most of many a test."""

from copy import deepcopy
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from corrpo.lab import checkpoint

_BUILT: dict[tuple[str, torch.dtype], nn.Module] = {}


def shared_model(problem: Any, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The one model of a problem, in eval mode, for tests that leave it as they found it.

    Args:
        problem: a `Problem` or a `RecurrentProblem`.
        dtype: of its weights.
    """
    key = repr(problem), dtype
    if key not in _BUILT:
        with torch.random.fork_rng(devices=[]):  # whether a test is the first changes no number
            _BUILT[key] = problem.model(dtype)
    return _BUILT[key]


@cache
def _read(family: str, kind: str) -> tuple[Any, Any]:
    folder = checkpoint(family, kind)
    with torch.random.fork_rng(devices=[]):
        return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def lab_copies(family: str = "qwen2", kind: str = "base") -> tuple[Any, Any]:
    """A lab model in eval mode and its tokenizer, each a copy that a test may change."""
    model, tokenizer = _read(family, kind)
    return deepcopy(model), deepcopy(tokenizer)
