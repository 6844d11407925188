"""Attention whose layout is not known is refused with a message, never guessed, never left out silently."""

import pytest
import torch
import transformers
from torch import nn
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextAttention

from corrpo.errors import UnsupportedModelError
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections.fused import split
from corrpo.strength.projections.mixers import find_attention_layers, find_mixers
from problems import PROBLEMS, Problem

LLAMA = Problem("llama", "Llama")


def problem(name: str) -> Problem:
    return next(problem for problem in PROBLEMS if problem.name == name)


class OfACheckpoint(nn.Module):
    """An attention of code that comes with a checkpoint."""

    def __init__(self, **widths: int):
        super().__init__()
        for name, width in widths.items():
            setattr(
                self, name, nn.Linear(width if name == "o_proj" else 32, 32 if name == "o_proj" else width)
            )


@pytest.mark.parametrize("name", ["qkv_proj", "query_key_value", "c_attn", "Wqkv", "W_pack", "kv_b_proj"])
def test_a_fused_module_of_another_class_is_refused(name):
    model = LLAMA.model()
    model.model.layers[1].self_attn = OfACheckpoint(**{name: 96, "o_proj": 32})
    with pytest.raises(
        UnsupportedModelError, match=rf"OfACheckpoint.*{name}.*trust_remote_code=False"
    ) as refusal:
        find_mixers(model)
    assert "docs/MODELS.md" in str(refusal.value)


def test_a_class_of_the_same_name_in_other_code_is_refused():
    model = problem("gpt2").model()
    fake = type("GPT2Attention", (OfACheckpoint,), {})
    model.transformer.h[0].attn = fake(c_attn=96, c_proj=32)
    with pytest.raises(UnsupportedModelError, match=r"GPT2Attention computes several projections in c_attn"):
        find_mixers(model)


def test_a_derived_class_is_taken():
    """As FSDP2 makes of every module it shards."""
    model = problem("gpt2").model()
    for block in model.transformer.h:
        block.attn.__class__ = type("FSDPGPT2Attention", (type(block.attn),), {})
    assert len(find_attention_layers(model)) == 3


def test_a_q_proj_that_makes_something_besides_is_refused():
    model = LLAMA.model()
    model.model.layers[2].self_attn = OfACheckpoint(q_proj=64, k_proj=16, v_proj=16, o_proj=32)
    with pytest.raises(
        UnsupportedModelError, match="64, 16 and 16 output features.*reads 32; expected q / k = o / v"
    ):
        find_mixers(model)


def test_values_narrower_than_keys_are_taken():
    model = LLAMA.model()
    for layer in model.model.layers:
        layer.self_attn = OfACheckpoint(q_proj=48, k_proj=24, v_proj=16, o_proj=32)
    assert len(find_attention_layers(model)) == 3


def test_linear_attention_with_a_decay_is_not_taken_for_attention():
    model = LLAMA.model()
    mixer = OfACheckpoint(q_proj=32, k_proj=32, v_proj=32, o_proj=32)
    mixer.A_log = nn.Parameter(torch.zeros(4))
    model.model.layers[0].self_attn = mixer
    assert [layer.name for layer in find_attention_layers(model)] == [
        "model.layers.1.self_attn",
        "model.layers.2.self_attn",
    ]


def test_cross_attention_is_refused():
    gpt2 = problem("gpt2")
    config = transformers.GPT2Config(**gpt2.shape, add_cross_attention=True)
    model = transformers.GPT2LMHeadModel(config)
    assert len(find_mixers(model)) == 3
    model.transformer.h[0].attn = model.transformer.h[0].crossattention
    with pytest.raises(UnsupportedModelError, match="add_cross_attention=True.*without cross-attention"):
        find_mixers(model)


def test_attention_that_a_causal_lm_never_runs_is_left_out():
    config = transformers.BartConfig(
        vocab_size=53, d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=40
    )
    config.is_decoder, config.is_encoder_decoder = True, False
    torch.manual_seed(0)
    model = transformers.BartForCausalLM(config).double().eval()
    ids, _, positions = LLAMA.sequence()
    assert [layer.name.rsplit(".", 1)[1] for layer in find_mixers(model)] == ["self_attn", "self_attn"]
    truth = logit_gradient_norms(model, ids, positions, estimator="reference")
    exact = logit_gradient_norms(model, ids, positions)
    torch.testing.assert_close(exact, truth, rtol=1e-5, atol=0)


def test_bloom_that_does_not_call_its_output_projection_is_refused():
    bloom = problem("bloom-alibi")
    config = transformers.BloomConfig(**bloom.shape, slow_but_exact=True, pretraining_tp=2)
    with pytest.raises(UnsupportedModelError, match="slow_but_exact=False"):
        find_mixers(transformers.BloomForCausalLM(config))


def test_a_width_that_its_family_does_not_have_is_refused():
    with pytest.raises(
        UnsupportedModelError, match=r"Linear has 96 output features, expected 4 x 8 \+ 8 \+ 9"
    ):
        split(nn.Linear(32, 96), (8, 8, 9), groups=4)


def test_the_module_that_is_refused_is_named_even_in_transformers_own_code():
    """DeepSeek-V4 reads one tensor as keys and as values, and groups its output projection."""
    config = transformers.DeepseekV4Config(**{**problem("deepseek-v3").shape, "head_dim": 16})
    model = transformers.DeepseekV4ForCausalLM(config)
    with pytest.raises(UnsupportedModelError, match="DeepseekV4Attention.*kv_proj.*add its family"):
        find_mixers(model)


def test_gated_attention_is_not_taken_for_separate():
    model = problem("qwen3-next-gated").model()
    layer = find_attention_layers(model)[0]
    assert isinstance(layer.mixer, Qwen3NextAttention)
    assert list(layer.projections) == ["q", "k", "v", "o", "gate"]
    assert layer.projections["q"].of(torch.arange(96)).tolist() == [
        24 * head + i for head in range(4) for i in range(12)
    ]
