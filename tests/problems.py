"""The shared list of problems: every estimator is compared with `reference` over all of them.

A problem is a small model with random weights of one architecture and shape, one sequence, and the
positions measured. Adding an architecture here adds its tests and its row in `make bench`.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor, nn

VOCABULARY = 53
LENGTH = 22
POSITIONS = (3, 21, 8, 9, 15)

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@dataclass(frozen=True)
class Problem:
    """A model to build and how its sequence is padded.

    Attributes:
        name: what makes it different.
        family: the prefix of the transformers classes, e.g. "Qwen2".
        config: what differs from the common shape.
        padding: "", "left" or "right": the sequence is one row of a padded batch.
    """

    name: str
    family: str
    config: dict[str, Any] = field(default_factory=dict)
    padding: str = ""

    def model(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Module:
        """The model, in eval mode, with every parameter (norms and biases too) far from its start."""
        text = "Text" if self.family == "Gemma3" else ""
        config = getattr(transformers, f"{self.family}{text}Config")(**{**_SHAPE, **self.config})
        model = getattr(transformers, f"{self.family}ForCausalLM")(config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                centre = 1.0 if "norm" in name and not self.family.startswith("Gemma") else 0.0
                parameter.copy_(centre + 0.25 * noise)
        return model.to(dtype).eval()

    def sequence(self, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """input_ids [T] with padding, attention_mask [T], positions [n] in the padded sequence."""
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(3, VOCABULARY, (LENGTH,), generator=generator)
        mask, positions = torch.ones_like(ids), torch.tensor(POSITIONS)
        pad = torch.zeros(5, dtype=torch.long)
        if self.padding == "left":
            return torch.cat([pad, ids]), torch.cat([pad, mask]), positions + len(pad)
        if self.padding == "right":
            return torch.cat([ids, pad]), torch.cat([mask, pad]), positions
        return ids, mask, positions


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
)


def padded_reference(model: nn.Module, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Nuclear norms [n, layers, 4] by the obvious loop, the padding read by the model itself.

    The row is put in a batch with another row, as a trainer would have it.
    """
    other = ids.flip(0)
    batch, masks = torch.stack([ids, other]), torch.stack([mask, torch.ones_like(mask)])
    position_ids = (masks.cumsum(-1) - 1).clamp_min(0)
    logits = model(input_ids=batch, attention_mask=masks, position_ids=position_ids).logits[0]
    layers = [module for module in model.modules() if hasattr(module, "q_proj")]
    weights = [getattr(layer, f"{kind}_proj").weight for layer in layers for kind in "qkvo"]
    rows = []
    for position in positions.tolist():
        score = logits[position - 1, ids[position]]
        gradients = torch.autograd.grad(score, weights, retain_graph=True)
        rows.append(torch.stack([torch.linalg.svdvals(g.double()).sum() for g in gradients]))
    return torch.stack(rows).reshape(len(positions), len(layers), 4)
