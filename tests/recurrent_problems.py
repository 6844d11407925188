"""Small models whose layers are recurrent, linear attention or convolutions, alone or beside attention.

Each is measured by the names of its own modules: `exact` against `reference`, as in problems.py.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM

from problem import LENGTH, POSITIONS, VOCABULARY

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_ATTENTION: dict[str, Any] = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}


@dataclass(frozen=True)
class RecurrentProblem:
    """A model to build and the mixers it is expected to have.

    Attributes:
        name: what makes it different.
        family: the prefix of the transformers config, e.g. "Mamba2".
        mixers: the projections of each kind of mixer, and how many layers of the kind there are.
        config: what differs from the common shape.
        shared_attention: its attention layers share their weights, which `reference` alone measures.
        last: whether no other mixer comes after the last attention, so that `last` measures it.
        spread: standard deviation of the weights; scans run in float32 in a float64 model, too, and that
            rounding must stay below the bar of a float64 comparison.
    """

    name: str
    family: str
    mixers: dict[tuple[str, ...], int]
    config: dict[str, Any] = field(default_factory=dict)
    shared_attention: bool = False
    last: bool = False
    spread: float = 0.25

    def model(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Module:
        """The model, in eval mode, with every parameter (norms and decays too) far from its start."""
        config = getattr(transformers, f"{self.family}Config")(**{**_SHAPE, **self.config})
        model = AutoModelForCausalLM.from_config(config)
        if model._can_set_experts_implementation():
            model.set_experts_implementation("eager")  # grouped_mm of the CPU has no float64
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_((1.0 if "norm" in name else 0.0) + self.spread * noise)
        return model.to(dtype).eval()

    def sequence(self, seed: int = 1) -> tuple[Tensor, Tensor]:
        """input_ids [T], positions [n]."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(3, VOCABULARY, (LENGTH,), generator=generator), torch.tensor(POSITIONS)


class Float64Throughout(TorchFunctionMode):
    """Computes in float64 what a model's own code casts to float32, as scans and gates do in every dtype."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        wide = {torch.float32: torch.float64}
        func = torch.Tensor.double if func is torch.Tensor.float else func
        args = tuple(
            wide.get(argument, argument) if isinstance(argument, torch.dtype) else argument
            for argument in args
        )
        kwargs = {
            key: wide.get(argument, argument) if isinstance(argument, torch.dtype) else argument
            for key, argument in (kwargs or {}).items()
        }
        return func(*args, **kwargs)


QKVO = ("q", "k", "v", "o")
GATED = (*QKVO, "gate")
MAMBA = ("in_proj", "x_proj", "dt_proj", "out_proj")
IN_OUT = ("in_proj", "out_proj")
QWEN3_NEXT = ("in_proj_qkvz", "in_proj_ba", "out_proj")
QWEN3_5 = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj")
OLMO_HYBRID = ("q_proj", "k_proj", "v_proj", "g_proj", "a_proj", "b_proj", "o_proj")
KIMI = (
    *("q_proj", "k_proj", "v_proj", "g_a_proj", "g_b_proj", "b_proj"),
    *("forget_gate.f_a_proj", "forget_gate.f_b_proj", "o_proj"),
)
XLSTM = ("q", "k", "v", "ogate_preact", "igate_preact", "fgate_preact", "out_proj")

_HYBRID = {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
_CONVOLUTIONS = {"layer_types": ["conv", "full_attention", "conv"]}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_SHARED_EXPERT = {**_EXPERTS, "shared_expert_intermediate_size": 16}
_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
}
_QWEN = {**_ATTENTION, **_DELTA, **_HYBRID, "head_dim": 8}
_MAMBA1 = {"mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False}
_MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
_CHUNK = {"mamba_chunk_size": 8}  # 22 tokens are two chunks and a padded one
_ZAMBA2 = {"mamba_d_state": 8, "mamba_headdim": 16, "n_mamba_heads": 4, "mamba_ngroups": 1, "chunk_size": 8}
_ZAMBA2_BLOCKS = {"num_mem_blocks": 1, "adapter_rank": 4}

RECURRENT = (
    RecurrentProblem("mamba", "Mamba", {MAMBA: 3}, {"state_size": 8, "time_step_rank": 4}),
    RecurrentProblem("falcon-mamba", "FalconMamba", {MAMBA: 3}, {"state_size": 8, "time_step_rank": 4}),
    RecurrentProblem(
        "mamba2",
        "Mamba2",
        {IN_OUT: 3},
        {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 2, "chunk_size": 8},
    ),
    RecurrentProblem("qwen3-next", "Qwen3Next", {QWEN3_NEXT: 2, GATED: 1}, {**_QWEN, **_SHARED_EXPERT}),
    RecurrentProblem("qwen3.5", "Qwen3_5Text", {QWEN3_5: 2, GATED: 1}, _QWEN),
    RecurrentProblem("qwen3.5-moe", "Qwen3_5MoeText", {QWEN3_5: 2, GATED: 1}, {**_QWEN, **_SHARED_EXPERT}),
    RecurrentProblem(
        "olmo-hybrid", "OlmoHybrid", {OLMO_HYBRID: 2, QKVO: 1}, {**_ATTENTION, **_DELTA, **_HYBRID}
    ),
    RecurrentProblem(
        "kimi-linear",
        "KimiLinear",
        {KIMI: 2, (*QKVO, "kv_a_proj_with_mqa"): 1},
        {
            **_ATTENTION,
            **_HYBRID,
            **{"linear_num_heads": 4, "linear_head_dim": 8, "linear_conv_kernel_dim": 4},
            **{"num_key_value_heads": 4, "q_lora_rank": None, "kv_lora_rank": 16, "v_head_dim": 8},
            **{"qk_nope_head_dim": 8, "qk_rope_head_dim": 8},
            **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
        },
    ),
    RecurrentProblem(
        "minimax-lightning",
        "MiniMax",
        {("qkv_proj", "output_gate", "out_proj"): 2, QKVO: 1},
        {
            **_ATTENTION,
            **_HYBRID,
            **{"head_dim": 8, "block_size": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
        },
    ),
    RecurrentProblem(
        "rwkv",
        "Rwkv",
        {("receptance", "key", "value", "output"): 3},
        {"context_length": 64, "attention_hidden_size": 32, "intermediate_size": 40},
    ),
    RecurrentProblem(
        "jamba",
        "Jamba",
        {MAMBA: 2, QKVO: 1},
        {**_ATTENTION, **_MAMBA1, "num_experts": 2, "attn_layer_period": 3, "attn_layer_offset": 1},
    ),
    RecurrentProblem(
        "bamba", "Bamba", {IN_OUT: 2, QKVO: 1}, {**_ATTENTION, **_MAMBA2, **_CHUNK, "attn_layer_indices": [1]}
    ),
    RecurrentProblem(
        "zamba-shared-attention",
        "Zamba",
        {QKVO: 2, IN_OUT: 3},
        {
            **_ATTENTION,
            **_MAMBA1,
            **{"n_mamba_heads": 2, "layers_block_type": ["hybrid", "linear_attention", "hybrid"]},
        },
        shared_attention=True,
        spread=0.15,
    ),
    RecurrentProblem(
        "zamba2",
        "Zamba2",
        {IN_OUT: 3, QKVO: 1},
        {
            **_ATTENTION,
            **_ZAMBA2,
            **_ZAMBA2_BLOCKS,
            **{"layers_block_type": ["mamba", "hybrid", "mamba"], "hybrid_layer_ids": [1]},
        },
    ),
    RecurrentProblem(
        "zamba2-shared-attention",
        "Zamba2",
        {IN_OUT: 3, QKVO: 2},
        {
            **_ATTENTION,
            **_ZAMBA2,
            **_ZAMBA2_BLOCKS,
            **{"layers_block_type": ["hybrid", "mamba", "hybrid"], "hybrid_layer_ids": [0, 2]},
        },
        shared_attention=True,
        spread=0.15,
    ),
    RecurrentProblem(
        "nemotron-h",
        "NemotronH",
        {IN_OUT: 2, QKVO: 1},
        {
            **_ATTENTION,
            **{
                "mamba_num_heads": 4,
                "mamba_head_dim": 16,
                "ssm_state_size": 8,
                "n_groups": 2,
                "chunk_size": 8,
            },
            **{"layers_block_type": ["mamba", "attention", "mamba"], "head_dim": 8},
        },
    ),
    RecurrentProblem(
        "falcon-h1-side-by-side",
        "FalconH1",
        {IN_OUT: 3, QKVO: 3},
        {**_ATTENTION, **_MAMBA2, **_CHUNK, "mamba_d_ssm": 64},
        last=True,
    ),
    RecurrentProblem(
        "granite-moe-hybrid",
        "GraniteMoeHybrid",
        {IN_OUT: 2, QKVO: 1},
        {
            **_ATTENTION,
            **_MAMBA2,
            **_CHUNK,
            **{"layer_types": ["mamba", "attention", "mamba"], "shared_intermediate_size": 16},
            **{"num_local_experts": 2, "num_experts_per_tok": 1},
        },
    ),
    RecurrentProblem(
        "lfm2", "Lfm2", {IN_OUT: 2, QKVO: 1}, {**_ATTENTION, **_CONVOLUTIONS, "block_multiple_of": 8}
    ),
    RecurrentProblem(
        "lfm2-moe",
        "Lfm2Moe",
        {IN_OUT: 2, QKVO: 1},
        {**_ATTENTION, **_CONVOLUTIONS, **_EXPERTS, "num_dense_layers": 1},
    ),
    RecurrentProblem(
        "recurrent-gemma",
        "RecurrentGemma",
        {("linear_x", "linear_y", "linear_out"): 2, QKVO: 1},
        {
            **_ATTENTION,
            **{"lru_width": 32, "conv1d_width": 4, "head_dim": 8, "attention_window_size": 8},
            "block_types": ["recurrent", "recurrent", "attention"],
        },
        last=True,
    ),
    RecurrentProblem("xlstm", "xLSTM", {XLSTM: 3}, {"num_heads": 2, "num_blocks": 3, "chunk_size": 8}),
)
