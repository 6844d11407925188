"""MPT and DBRX: Wqkv computes q|k|v in a row, out_proj is O.

Both may clip the output of Wqkv (clip_qkv). The gradient is that at the output itself, before clipping, so a
clipped feature gives none.
"""

from typing import Any

from corrpo.strength.projections.fused import attention, is_class, split
from corrpo.strength.projections.projection import Projection


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The four projections of an attention of MPT or DBRX; None for any other module."""
    if is_class(mixer, "mpt.MptAttention"):
        keys = mixer.hidden_size
    elif is_class(mixer, "dbrx.DbrxAttention"):
        keys = mixer.num_key_value_heads * mixer.head_dim
    else:
        return None
    return attention(split(mixer.Wqkv, [mixer.hidden_size, keys, keys]), mixer.out_proj)
