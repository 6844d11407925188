"""The refusal of fused attention whose layout is not known, which no family has taken.

Passing over such a module would leave its layers out of the measurement without a word.
"""

from torch import nn

from corrpo.errors import UnsupportedModelError

_FUSED = {"query_key_value", "c_attn", "W_pack", "kv_proj", "kv_b_proj", "kv_a_proj_with_mqa", "q_gate_proj"}


def refuse_unknown(mixer: nn.Module) -> None:
    """Refuse a module that holds a linear map of several of q, k and v; for one that no family takes.

    Raises:
        UnsupportedModelError: it holds one.
    """
    fused = [name for name, _ in mixer.named_children() if name in _FUSED or "qkv" in name.lower()]
    if not fused:
        return
    kind = type(mixer)
    advice = (
        "add its family as docs/MODELS.md tells"
        if kind.__module__.startswith("transformers.models.")
        else "load the model with transformers' own code (trust_remote_code=False), or add its family as "
        "docs/MODELS.md tells"
    )
    raise UnsupportedModelError(
        f"{kind.__module__}.{kind.__name__} computes several projections in {', '.join(fused)}, and which "
        f"rows make which is not known to corrpo; {advice}"
    )
