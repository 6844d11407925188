"""Attention that has no V of its own, or neither K nor V (Gemma 3n, Gemma 4).

- Full-attention layers of Gemma 4 with attention_k_eq_v: k_proj makes keys and values, "kv" here;
- the upper layers of a model with num_kv_shared_layers, which read a lower layer's keys and values: "q", "o".

Such layers do not hold all of q, k, v and o, so the default projections leave them out, as they leave out
the recurrent layers of a hybrid; projections=("q", "o") measures every layer. A lower layer's K and V take
part in the layers that read them too, and their gradients are of all these uses.
"""

from typing import Any

from corrpo.strength.projections.fused import is_class
from corrpo.strength.projections.projection import Projection

_CLASSES = (
    "gemma3n.Gemma3nTextAttention",
    "gemma4.Gemma4TextAttention",
    "gemma4_unified.Gemma4UnifiedTextAttention",
)


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The projections "q", "o" and, where it is there, "kv"; None for attention with k and v, and others."""
    if not is_class(mixer, *_CLASSES):
        return None
    keys, values = getattr(mixer, "k_proj", None), getattr(mixer, "v_proj", None)
    if values is not None:
        return None
    kv = {} if keys is None else {"kv": Projection(keys)}
    return {"q": Projection(mixer.q_proj), **kv, "o": Projection(mixer.o_proj)}
