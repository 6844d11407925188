"""Falcon, in three layouts of query_key_value; dense is O.

- new_decoder_architecture (Falcon-40B, 180B): for each key-value head, the q of its query heads, then k, v;
- multi_query (Falcon-7B): q of all heads|k|v in a row;
- neither (Falcon-RW): q, k, v taking turns by head.
"""

from typing import Any

from corrpo.strength.projections.fused import attention, is_class, split
from corrpo.strength.projections.projection import Projection


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The four projections of a Falcon attention; None for any other module."""
    if not is_class(mixer, "falcon.FalconAttention"):
        return None
    width, heads, fused = mixer.head_dim, mixer.num_heads, mixer.query_key_value
    if mixer.new_decoder_architecture:
        per_group = heads // mixer.num_kv_heads
        parts = split(fused, [per_group * width, width, width], mixer.num_kv_heads)
    elif mixer.multi_query:
        parts = split(fused, [heads * width, width, width])
    else:
        parts = split(fused, [width] * 3, heads)
    return attention(parts, mixer.dense)
