"""The shared list of problems: every estimator is compared with `reference` over all of them.

A problem is a small model with random weights of one architecture and shape, one sequence, and the
positions measured. Adding an architecture here adds its tests and its row in `make bench`.
"""

import inspect

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_attention_layers
from fused_problems import FUSED
from problem import LENGTH, POSITIONS, VOCABULARY, Problem

__all__ = ["LENGTH", "POSITIONS", "PROBLEMS", "VOCABULARY", "Problem", "padded_reference"]

_MHA = {"num_key_value_heads": 4}
_TIED = {"tie_word_embeddings": True}
_GEMMA2 = {"head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 6}
_GEMMA3 = {**_GEMMA2, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}

PROBLEMS = (
    Problem("llama-gqa", "Llama"),
    Problem("llama-mha-tied", "Llama", {**_MHA, **_TIED}),
    Problem("llama-one-kv-head-biases", "Llama", {"num_key_value_heads": 1, "attention_bias": True}),
    Problem("llama-left-padding", "Llama", padding="left"),
    Problem("llama-right-padding", "Llama", padding="right"),
    Problem("mistral-sliding-window", "Mistral", {"sliding_window": 6, "head_dim": 12}),
    Problem("mistral-left-padding", "Mistral", {"sliding_window": 6}, padding="left"),
    Problem("qwen2-gqa", "Qwen2"),
    Problem("qwen2-mha-tied", "Qwen2", {**_MHA, **_TIED}),
    Problem("qwen2-left-padding", "Qwen2", padding="left"),
    Problem("qwen2-right-padding", "Qwen2", padding="right"),
    Problem("qwen3-qk-norm", "Qwen3", {"head_dim": 12}),
    Problem("qwen3-mha-tied", "Qwen3", {**_MHA, **_TIED, "head_dim": 8}),
    Problem(
        "gemma2-soft-capping",
        "Gemma2",
        {**_GEMMA2, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 8.0},
    ),
    Problem("gemma2-untied", "Gemma2", {**_GEMMA2, "tie_word_embeddings": False}),
    Problem("gemma2-left-padding", "Gemma2", _GEMMA2, padding="left"),
    Problem("gemma3-local-last", "Gemma3", _GEMMA3),
    Problem("gemma3-mha", "Gemma3", {**_GEMMA3, **_MHA, "layer_types": None}),
    Problem("gemma3-left-padding", "Gemma3", _GEMMA3, padding="left"),
    Problem("olmo2-whole-qk-norm", "Olmo2"),
    Problem("olmo2-mha-tied", "Olmo2", {**_MHA, **_TIED}),
    *FUSED,
)


def padded_reference(model: nn.Module, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Nuclear norms [n, layers, 4] by the obvious loop, the padding read by the model itself.

    The row is put in a batch with another row, as a trainer would have it. Models without position embeddings
    tell positions from the mask.
    """
    other = ids.flip(0)
    batch, masks = torch.stack([ids, other]), torch.stack([mask, torch.ones_like(mask)])
    inputs = {"input_ids": batch, "attention_mask": masks, "use_cache": False}
    if "position_ids" in inspect.signature(model.forward).parameters:
        inputs["position_ids"] = (masks.cumsum(-1) - 1).clamp_min(0)
    logits = model(**inputs).logits[0]
    projections = [layer.projections[kind] for layer in find_attention_layers(model) for kind in PROJECTIONS]
    rows = []
    for position in positions.tolist():
        score = logits[position - 1, ids[position]]
        weights = {projection.module: projection.module.weight for projection in projections}
        gradients = torch.autograd.grad(score, list(weights.values()), retain_graph=True)
        of = dict(zip(weights, gradients, strict=True))
        norms = []
        for projection in projections:
            full = of[projection.module]
            outputs_last = full if isinstance(projection.module, Conv1D) else full.T
            norms.append(torch.linalg.svdvals(projection.of(outputs_last).double()).sum())
        rows.append(torch.stack(norms))
    return torch.stack(rows).unflatten(1, (-1, len(PROJECTIONS)))
