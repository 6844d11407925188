"""GPT-NeoX (Pythia), its Japanese relative, Bloom, Persimmon: query_key_value takes turns, dense is O.

The output of query_key_value is, head after head, that head's q, k and v.
"""

from typing import Any

from corrpo.errors import UnsupportedModelError
from corrpo.strength.projections.fused import attention, is_class, split
from corrpo.strength.projections.projection import Projection

_CLASSES = (
    "gpt_neox.GPTNeoXAttention",
    "gpt_neox_japanese.GPTNeoXJapaneseAttention",
    "bloom.BloomAttention",
    "persimmon.PersimmonAttention",
)


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The four projections of an attention of these families; None for any other module.

    Raises:
        UnsupportedModelError: Bloom multiplies slices of the weight of dense, in place of calling it.
    """
    if not is_class(mixer, *_CLASSES):
        return None
    if getattr(mixer, "slow_but_exact", False) and mixer.pretraining_tp > 1:
        raise UnsupportedModelError(
            "BloomAttention does not call its dense module here (slow_but_exact=True with pretraining_tp "
            f"{mixer.pretraining_tp}); expected slow_but_exact=False in the model's config"
        )
    head_dim = getattr(mixer, "head_dim", None) or mixer.head_size
    heads = mixer.dense.in_features // head_dim
    return attention(split(mixer.query_key_value, [head_dim] * 3, heads), mixer.dense)
