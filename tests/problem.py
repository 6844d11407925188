"""A problem: a small random model of one architecture and shape, one sequence, and the positions measured."""

from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor, nn

VOCABULARY = 53
LENGTH = 22
POSITIONS = (3, 21, 8, 9, 15)

SHAPE: dict[str, Any] = {
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
_TEXT_CONFIG = {"Gemma3", "Gemma4", "Qwen3_5"}
_AROUND_ZERO = ("Gemma", "Gemma2", "Gemma3")


@dataclass(frozen=True)
class Problem:
    """A model to build and how its sequence is padded.

    Attributes:
        name: what makes it different.
        family: the prefix of the transformers classes, e.g. "Qwen2".
        config: what differs from the common shape.
        padding: "", "left" or "right": the sequence is one row of a padded batch.
        shape: the common shape, under the family's own names.
        fits: the estimators that can measure it besides `reference`; the others refuse it.
        layers: how many of its layers have all of q, k, v and o.
        float32_inside: a part of the model computes in float32 whatever its dtype (DeepSeek: the router, and
            the rotary embedding of V2), so that rounding in it depends on the size of the batch.
    """

    name: str
    family: str
    config: dict[str, Any] = field(default_factory=dict)
    padding: str = ""
    shape: dict[str, Any] = field(default_factory=lambda: SHAPE)
    fits: tuple[str, ...] = ("exact", "pruned", "last", "own")
    layers: int = 3
    float32_inside: bool = False

    def model(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Module:
        """The model, in eval mode, with every parameter (norms and biases too) far from its start."""
        text = "Text" if self.family in _TEXT_CONFIG else ""
        config = getattr(transformers, f"{self.family}{text}Config")(**{**self.shape, **self.config})
        model = transformers.AutoModelForCausalLM.from_config(config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                module = name.split(".")[-2]
                is_norm = "norm" in module or module.startswith("ln_")
                centre = 1.0 if is_norm and self.family not in _AROUND_ZERO else 0.0
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
