"""Problems of attention families with fused projections, latent attention, gates, and mixtures of experts."""

from typing import Any

from problem import SHAPE, VOCABULARY, Problem

_GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_BLOOM: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "n_layer": 3,
    "n_head": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_MPT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "n_layers": 3,
    "n_heads": 4,
    "max_seq_len": 64,
}
_MULTI_HEAD: dict[str, Any] = {name: size for name, size in SHAPE.items() if name != "num_key_value_heads"}
_NEO: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_layers": 3,
    "num_heads": 4,
    "max_position_embeddings": 64,
    "attention_types": [[["global", "local", "local"], 1]],
    "window_size": 6,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

OWN_ATTENTION = {"OpenAIGPT", "GPTNeoXJapanese", "Bloom", "Falcon", "Mpt", "GPTNeo"}
"""Families that do not take their attention function from transformers' AttentionInterface."""

EXACT = ("exact",)

# transformers' grouped matrix product of experts does not take float64
_EXPERTS: dict[str, Any] = {
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "experts_implementation": "eager",
}
LATENT_SHAPE: dict[str, Any] = {
    **SHAPE,
    **_EXPERTS,
    "num_key_value_heads": 4,
    "kv_lora_rank": 10,
    "q_lora_rank": 12,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 5,
    "n_routed_experts": 4,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
# with few index heads many index scores are 0, and which of them are taken depends on the length
SPARSE = {"index_n_heads": 32, "index_head_dim": 8, "index_topk": 6}
_GATED: dict[str, Any] = {
    **SHAPE,
    **_EXPERTS,
    "head_dim": 12,
    "num_experts": 4,
    "shared_expert_intermediate_size": 12,
    "layer_types": ["full_attention"] * 3,
}
_DBRX: dict[str, Any] = {
    **_MPT,
    "ffn_config": {"ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2},
}


def _clip(bound: float) -> dict[str, Any]:
    return {"attn_config": {"clip_qkv": bound, "kv_n_heads": 2, "rope_theta": 1e4}}


FUSED = (
    Problem("gpt2", "GPT2", shape=_GPT2),
    Problem("gpt2-scaled-by-layer", "GPT2", {"scale_attn_by_inverse_layer_idx": True}, shape=_GPT2),
    Problem("gpt2-left-padding", "GPT2", padding="left", shape=_GPT2),
    Problem("gpt1", "OpenAIGPT", shape=_GPT2, fits=EXACT),
    Problem("gpt-bigcode-multi-query", "GPTBigCode", shape=_GPT2),
    Problem("gpt-bigcode-multi-head", "GPTBigCode", {"multi_query": False}, shape=_GPT2),
    Problem("gpt-neox", "GPTNeoX", shape=_MULTI_HEAD),
    Problem("gpt-neox-sequential", "GPTNeoX", {"use_parallel_residual": False}, shape=_MULTI_HEAD),
    Problem("gpt-neox-left-padding", "GPTNeoX", padding="left", shape=_MULTI_HEAD),
    Problem(
        "gpt-neox-japanese",
        "GPTNeoXJapanese",
        {"intermediate_multiple_size": 2},
        shape=_MULTI_HEAD,
        fits=EXACT,
    ),
    Problem("persimmon-qk-norm", "Persimmon", shape=_MULTI_HEAD),
    Problem("bloom-alibi", "Bloom", shape=_BLOOM, fits=EXACT),
    Problem("bloom-left-padding", "Bloom", padding="left", shape=_BLOOM, fits=EXACT),
    Problem(
        "falcon-grouped",
        "Falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 2},
        shape=_MULTI_HEAD,
        fits=EXACT,
    ),
    Problem("falcon-multi-query", "Falcon", shape=_MULTI_HEAD, fits=EXACT),
    Problem(
        "falcon-alibi",
        "Falcon",
        {"multi_query": False, "alibi": True, "parallel_attn": False, "bias": True},
        shape=_MULTI_HEAD,
        fits=EXACT,
    ),
    Problem("phi3-sliding-window", "Phi3", {"sliding_window": 6}),
    Problem("phi3-left-padding", "Phi3", padding="left"),
    Problem("mpt-alibi", "Mpt", shape=_MPT, fits=EXACT),
    Problem("mpt-clipped", "Mpt", {"attn_config": {"clip_qkv": 0.5}}, shape=_MPT, fits=EXACT),
    Problem("dbrx", "Dbrx", _clip(1e3), shape=_DBRX),
    Problem("dbrx-clipped", "Dbrx", _clip(1.0), shape=_DBRX, fits=("exact", "pruned", "own")),
    Problem("codegen", "CodeGen", {"rotary_dim": 4}, shape=_GPT2),
    Problem("gptj", "GPTJ", {"rotary_dim": 4}, shape=_GPT2),
    Problem("gpt-neo-local", "GPTNeo", shape=_NEO, fits=EXACT),
    Problem("opt", "OPT", {"ffn_dim": 40, "word_embed_proj_dim": 32}, shape=_MULTI_HEAD),
    Problem("phi", "Phi"),
    Problem("mixtral", "Mixtral", {**_EXPERTS, "num_local_experts": 4}),
    Problem("qwen3-moe", "Qwen3Moe", {**_EXPERTS, "num_experts": 4, "head_dim": 12}),
    Problem(
        "gpt-oss-sinks",
        "GptOss",
        {
            **_EXPERTS,
            "num_local_experts": 4,
            "head_dim": 12,
            "sliding_window": 6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
        fits=EXACT,
    ),
    Problem(
        "deepseek-v2-direct-queries",
        "DeepseekV2",
        {"q_lora_rank": None},
        shape=LATENT_SHAPE,
        float32_inside=True,
    ),
    Problem("deepseek-v3", "DeepseekV3", shape=LATENT_SHAPE, float32_inside=True),
    Problem(
        "deepseek-v3-left-padding", "DeepseekV3", padding="left", shape=LATENT_SHAPE, float32_inside=True
    ),
    Problem("deepseek-v3.2-sparse", "DeepseekV32", SPARSE, shape=LATENT_SHAPE, fits=EXACT),
    Problem("a.x-k2-gated-sparse", "AXK2", SPARSE, shape=LATENT_SHAPE, fits=EXACT),
    Problem("minicpm3", "MiniCPM3", shape=LATENT_SHAPE),
    Problem("qwen3-next-gated", "Qwen3Next", shape=_GATED),
    Problem("qwen3.5-gated", "Qwen3_5", shape=_GATED),
    Problem("diffllama", "DiffLlama", fits=("exact", "pruned", "own")),
)
