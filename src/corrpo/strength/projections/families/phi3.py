"""Phi-3, Phi-3.5, Phi-4 and Phi-4 multimodal (text): qkv_proj computes q|k|v in a row, o_proj is O."""

from typing import Any

from corrpo.strength.projections.fused import attention, is_class, split
from corrpo.strength.projections.projection import Projection


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The four projections of a Phi-3 attention; None for any other module."""
    if not is_class(mixer, "phi3.Phi3Attention", "phi4_multimodal.Phi4MultimodalAttention"):
        return None
    keys = mixer.num_key_value_heads * mixer.head_dim
    queries = keys * mixer.num_key_value_groups
    return attention(split(mixer.qkv_proj, [queries, keys, keys]), mixer.o_proj)
