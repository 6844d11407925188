"""Multi-head latent attention (DeepSeek-V2, V3 and relatives): which of its matrices stand for Q, K, V and O.

Keys and values are made from a latent of low rank c = norm(kv_a_proj_with_mqa(x)), and queries too where the
model has a q_lora_rank. Measured are the last maps before the heads:

- q: q_b_proj, or q_proj where queries are made directly; all features, with and without rotary embedding;
- k: the rows of kv_b_proj that make each head's key without rotary embedding (k_nope). The rotary part of the
  keys is one head shared by all, and is computed by the last rows of kv_a_proj_with_mqa;
- v: the rows of kv_b_proj that make each head's value;
- o: o_proj.

The maps onto the latents are offered under their own names, q_a_proj and kv_a_proj_with_mqa. "gate" is the
part of q_gate_proj (A.X K2) that gates the output of the heads.
"""

from typing import Any

from corrpo.strength.projections.fused import attention, is_class, split
from corrpo.strength.projections.projection import Projection

CLASSES = (
    "axk1.AXK1Attention",
    "axk2.AXK2Attention",
    "bailing_hybrid.BailingHybridAttention",
    "deepseek_v2.DeepseekV2Attention",
    "deepseek_v3.DeepseekV3Attention",
    "deepseek_v32.DeepseekV32Attention",
    "dots3_note.Dots3NoteTextAttention",
    "glm4_moe_lite.Glm4MoeLiteAttention",
    "glm5_next.Glm5NextTextAttention",
    "glm_moe_dsa.GlmMoeDsaAttention",
    "hy_v4.HYV4Attention",
    "kimi_linear.KimiLinearAttention",
    "longcat_flash.LongcatFlashMLA",
    "minicpm3.MiniCPM3Attention",
    "mistral4.Mistral4Attention",
    "mistral_large4.MistralLarge4TextAttention",
    "youtu.YoutuAttention",
)


def projections_of(mixer: Any) -> dict[str, Projection] | None:
    """The projections of a multi-head latent attention; None for any other module."""
    if not is_class(mixer, *CLASSES):
        return None
    gate = {}
    if (fused := getattr(mixer, "q_gate_proj", None)) is not None:
        q, gate["gate"] = split(fused, [mixer.qk_head_dim, mixer.v_head_dim], mixer.num_heads)
    else:
        latent = getattr(mixer, "q_b_proj", None)
        q = Projection(mixer.q_proj if latent is None else latent)
    k, v = split(mixer.kv_b_proj, [mixer.qk_nope_head_dim, mixer.v_head_dim], mixer.num_heads)
    before = {name: getattr(mixer, name, None) for name in ("q_a_proj", "kv_a_proj_with_mqa")}
    named = {name: Projection(module) for name, module in before.items() if module is not None}
    return {**attention((q, k, v), mixer.o_proj), **gate, **named}
