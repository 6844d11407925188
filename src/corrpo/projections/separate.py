"""Attention with four separate linear modules q_proj, k_proj, v_proj and o_proj (or out_proj, or dense).

Llama, Mistral, Qwen2, Qwen3, Gemma 2 and 3, OLMo-2, Mixtral, Qwen3-MoE and their many relatives. Biases, q/k
norms, sliding windows and soft-capping live between or beside the four modules and need no mention here.
"""

from torch import nn

from corrpo.projections.layer import Projection


def separate_projections(mixer: nn.Module) -> dict[str, Projection] | None:
    """The four projections of a module that holds them all; None for any other."""
    outputs = [getattr(mixer, name, None) for name in ("o_proj", "out_proj", "dense")]
    found = {kind: getattr(mixer, f"{kind}_proj", None) for kind in "qkv"}
    found["o"] = next((module for module in outputs if isinstance(module, nn.Module)), None)
    if not all(isinstance(module, nn.Module) for module in found.values()):
        return None
    return {kind: Projection(module) for kind, module in found.items()}  # pyright: ignore[reportArgumentType]
