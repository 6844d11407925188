"""Multi-head latent attention in every class of it, and layers that share keys and values."""

from importlib import import_module

import pytest
import torch
import transformers

from corrpo.errors import BadInputError
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections.families.mla import CLASSES, projections_of
from corrpo.strength.projections.mixers import find_layers, find_mixers
from fused_problems import LATENT_SHAPE, SPARSE
from problem import SHAPE, Problem

HEADS, LATENT, ROTARY = 4, LATENT_SHAPE["kv_lora_rank"], LATENT_SHAPE["qk_rope_head_dim"]
_FULL = {"layer_types": ["full_attention"] * 3, "num_experts": 4, "head_dim": 8}
_LONGCAT = {
    "num_layers": 2,
    "num_hidden_layers": 4,
    "ffn_hidden_size": 40,
    "expert_ffn_hidden_size": 12,
    "moe_topk": 2,
    "zero_expert_num": 2,
    "head_dim": ROTARY,
    "qk_head_dim": LATENT_SHAPE["qk_nope_head_dim"] + ROTARY,
}
RELATIVES = (
    Problem("axk1", "AXK1", shape=LATENT_SHAPE),
    Problem("glm4-moe-lite", "Glm4MoeLite", shape=LATENT_SHAPE),
    Problem("glm-dsa-sparse", "GlmMoeDsa", SPARSE, shape=LATENT_SHAPE),
    Problem("hy-v4-sparse-sinks-gate", "HYV4", SPARSE, shape=LATENT_SHAPE),
    Problem("youtu", "Youtu", shape=LATENT_SHAPE),
    Problem("longcat-two-in-a-layer", "LongcatFlash", _LONGCAT, shape=LATENT_SHAPE, layers=4),
    Problem("kimi-linear-latent-layers", "KimiLinear", _FULL, shape=LATENT_SHAPE),
    Problem("bailing-gate", "BailingHybrid", _FULL, shape=LATENT_SHAPE),
)


def attention_of(name: str):
    """An attention of a class in `CLASSES` with random weights."""
    model, kind = name.split(".")
    stem = kind.replace("Attention", "").replace("MLA", "")
    config = getattr(import_module(f"transformers.models.{model}.configuration_{model}"), f"{stem}Config")
    sizes = {**LATENT_SHAPE, **SPARSE, "indexer_types": ["full"] * 3, "index_kpool": 2}
    if model == "longcat_flash":
        del sizes["indexer_types"]
    if model == "glm5_next":
        sizes["qk_rope_head_dim"] = 0
    return getattr(import_module(f"transformers.models.{model}.modeling_{model}"), kind)(config(**sizes), 0)


@pytest.mark.parametrize("name", CLASSES)
def test_the_rows_of_kv_b_proj_are_those_that_make_keys_and_values(name):
    mixer = attention_of(name)
    parts, written = projections_of(mixer), []
    mixer.kv_b_proj.register_forward_hook(lambda _module, _args, output: written.append(output))
    with torch.no_grad():
        rotary = mixer.qk_rope_head_dim
        key, value = mixer.expand_kv(torch.randn(1, 1, 7, LATENT), torch.randn(1, 1, 7, rotary))
    k, v = (parts[kind].of(written[0])[0].unflatten(-1, (HEADS, -1)).transpose(1, 2) for kind in "kv")
    assert torch.equal(k, key[..., : k.shape[-1]])
    assert k.shape[-1] == key.shape[-1] - rotary
    assert torch.equal(v, value)
    assert parts["o"].module is mixer.o_proj
    assert len(parts["q"].of(torch.arange(1000))) >= HEADS * key.shape[-1]


@pytest.mark.parametrize("problem", RELATIVES, ids=lambda problem: problem.name)
def test_exact_equals_reference(problem):
    model = problem.model(torch.float64)
    ids, _, positions = problem.sequence()
    truth = logit_gradient_norms(model, ids, positions, estimator="reference")
    assert truth.shape == (len(positions), problem.layers, 4)
    torch.testing.assert_close(logit_gradient_norms(model, ids, positions), truth, rtol=1e-5, atol=0)


@pytest.mark.parametrize("family", ["DeepseekV2", "DeepseekV3"])
@pytest.mark.parametrize("estimator", ["exact", "own"])
def test_the_maps_onto_the_latents_are_measured_under_their_own_names(family, estimator):
    problem = Problem(family, family, shape=LATENT_SHAPE)
    model = problem.model(torch.float64)
    ids, _, positions = problem.sequence()
    names = ("kv_a_proj_with_mqa", "q_a_proj", "k")
    truth = logit_gradient_norms(model, ids, positions, estimator="reference", projections=names)
    norms = logit_gradient_norms(model, ids, positions, estimator=estimator, projections=names)
    assert norms.shape == truth.shape == (len(positions), 3, 3)
    if estimator == "exact":
        torch.testing.assert_close(norms, truth, rtol=1e-5, atol=0)
    else:  # q_a_proj is before q alone: whole in the last layer
        torch.testing.assert_close(norms[:, -1, 1], truth[:, -1, 1], rtol=1e-5, atol=0)


_GEMMA4 = {
    "head_dim": 8,
    "global_head_dim": 8,
    "num_global_key_value_heads": 1,
    "attention_k_eq_v": True,
    "num_kv_shared_layers": 0,
    "layer_types": ["sliding_attention", "full_attention", "full_attention"],
    "hidden_size_per_layer_input": 0,
}


def test_keys_that_are_values_too_have_a_name_of_their_own():
    problem = Problem("gemma4", "Gemma4", _GEMMA4)
    model = problem.model(torch.float64)
    assert [" ".join(mixer.projections) for mixer in find_mixers(model)] == ["q k v o", "q kv o", "q kv o"]
    assert len(find_layers(model, ("q", "o"))) == 3
    ids, _, positions = problem.sequence()
    for names, layers in ((("q", "o"), 3), (("kv", "o"), 2), (("q", "k", "v", "o"), 1)):
        truth = logit_gradient_norms(model, ids, positions, estimator="reference", projections=names)
        assert truth.shape == (len(positions), layers, len(names))
        exact = logit_gradient_norms(model, ids, positions, projections=names)
        torch.testing.assert_close(exact, truth, rtol=1e-5, atol=0)
    with pytest.raises(BadInputError, match="q k v o .*q kv o"):
        logit_gradient_norms(model, ids, positions, projections=("k", "kv"))


def test_layers_that_read_the_keys_of_another_hold_q_and_o():
    config = transformers.Gemma3nTextConfig(
        **SHAPE,
        head_dim=8,
        num_kv_shared_layers=1,
        layer_types=["full_attention"] * 3,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=53,
        laurel_rank=4,
        altup_num_inputs=2,
        activation_sparsity_pattern=None,
    )
    model = transformers.Gemma3nForCausalLM(config)
    assert [" ".join(mixer.projections) for mixer in find_mixers(model)] == ["q k v o", "q k v o", "q o"]
