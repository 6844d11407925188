"""CodeGen: qkv_proj is four blocks, each with q, v and k (in this order) of a quarter of the heads.

The four blocks are the shards of the machine it was trained on, and are fixed in the model's code.
"""

from typing import Any

from corrpo.strength.projections.fused import attention, is_class, split
from corrpo.strength.projections.projection import Projection

_BLOCKS = 4


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The four projections of a CodeGen attention; None for any other module."""
    if not is_class(mixer, "codegen.CodeGenAttention"):
        return None
    q, v, k = split(mixer.qkv_proj, [mixer.embed_dim // _BLOCKS] * 3, _BLOCKS)
    return attention((q, k, v), mixer.out_proj)
