"""Gated attention (Qwen3-Next and Qwen3.5, their full-attention layers): q_proj computes query and gate.

The output of q_proj is, head after head, that head's query and then the gate by which its output is
multiplied. "q" is the query rows and "gate" the gate rows; k_proj, v_proj and o_proj are as usual.
"""

from typing import Any

from corrpo.strength.projections.fused import attention, is_class, split
from corrpo.strength.projections.projection import Projection

_CLASSES = (
    "qwen3_next.Qwen3NextAttention",
    "qwen3_5.Qwen3_5Attention",
    "qwen3_5_moe.Qwen3_5MoeAttention",
    "qwen4_exp.Qwen4ExpTextAttention",
)


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The projections "q", "k", "v", "o" and "gate" of a gated attention; None for any other module."""
    if not is_class(mixer, *_CLASSES):
        return None
    width = mixer.head_dim
    q, gate = split(mixer.q_proj, [width, width], mixer.o_proj.in_features // width)
    k, v = Projection(mixer.k_proj), Projection(mixer.v_proj)
    return {**attention((q, k, v), mixer.o_proj), "gate": gate}
