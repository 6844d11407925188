"""GPT-2 and the first GPT: c_attn is q|k|v in a row, c_proj is O; both Conv1D, of weights [in, out]."""

from typing import Any

from corrpo.strength.projections.fused import attention, cross_attention, is_class, split
from corrpo.strength.projections.projection import Projection


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The four projections of a GPT-2 self-attention; None for any other module.

    Raises:
        UnsupportedModelError: cross-attention, which reads another sequence.
    """
    if not is_class(mixer, "gpt2.GPT2Attention", "openai.Attention"):
        return None
    if getattr(mixer, "is_cross_attention", False):
        raise cross_attention(mixer)
    return attention(split(mixer.c_attn, [mixer.split_size] * 3), mixer.c_proj)
