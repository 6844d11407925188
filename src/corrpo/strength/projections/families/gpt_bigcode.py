"""GPTBigCode (StarCoder): c_attn is q|k|v where multi-query, else q, k, v taking turns by head."""

from typing import Any

from corrpo.strength.projections.fused import attention, cross_attention, is_class, split
from corrpo.strength.projections.projection import Projection


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The four projections of a GPTBigCode self-attention; None for any other module.

    Raises:
        UnsupportedModelError: cross-attention, which reads another sequence.
    """
    if not is_class(mixer, "gpt_bigcode.GPTBigCodeAttention"):
        return None
    if mixer.is_cross_attention:
        raise cross_attention(mixer)
    if mixer.multi_query:
        parts = split(mixer.c_attn, [mixer.embed_dim, mixer.kv_dim, mixer.kv_dim])
    else:
        parts = split(mixer.c_attn, [mixer.head_dim] * 3, mixer.num_heads)
    return attention(parts, mixer.c_proj)
