"""What `logit_gradient_norms` promises besides numbers: choices, the model left as found, clear errors."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import XLMConfig, XLMWithLMHeadModel

from corrpo.errors import BadInputError, NonFiniteError, UnsupportedModelError
from corrpo.strength.estimators import ESTIMATORS
from corrpo.strength.gradient_norms import SequenceOptions, logit_gradient_norms
from corrpo.strength.projections.mixers import find_attention_layers
from fused_problems import OWN_ATTENTION
from problems import LENGTH, PROBLEMS, Problem
from shared_models import shared_model

LLAMA = Problem("llama", "Llama")
IDS, _, POSITIONS = LLAMA.sequence()


def state_of(model: nn.Module) -> dict:
    return {
        "training": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grad": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "attention": model.config._attn_implementation,
        "forward": [module.__dict__.get("forward") for module in model.modules()],
    }


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_model_is_left_as_it_was_found(estimator, attention):
    model = LLAMA.model()
    model.set_attn_implementation(attention)
    model.train()
    model.lm_head.eval()
    model(input_ids=IDS[None], labels=IDS[None]).loss.backward()
    next(model.parameters()).requires_grad_(False)
    before = state_of(model)
    logits = model(input_ids=IDS[None]).logits
    with torch.no_grad():
        logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    after = state_of(model)
    gradients = zip(before.pop("grad"), after.pop("grad"), strict=True)
    assert all(torch.equal(a, b) if a is not None else b is None for a, b in gradients)
    assert before == after
    torch.testing.assert_close(model(input_ids=IDS[None]).logits, logits, rtol=0, atol=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_model_is_left_as_found_even_after_an_error(estimator):
    model = LLAMA.model()
    with torch.no_grad():
        model.lm_head.weight[IDS[POSITIONS[0]]] = float("nan")
    before = state_of(model)
    with pytest.raises(NonFiniteError):
        logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    assert state_of(model) == before


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_frozen_weights_give_the_same_norms(estimator):
    model = LLAMA.model()
    free = logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    frozen = logit_gradient_norms(model.requires_grad_(False), IDS, POSITIONS, estimator=estimator)
    torch.testing.assert_close(free, frozen, rtol=0, atol=0)


@pytest.mark.parametrize("estimator", ["exact", "pruned", "last"])
def test_under_lora_the_gradient_is_that_of_the_effective_weight(estimator):
    from peft import LoraConfig, get_peft_model

    model = LLAMA.model(torch.float64)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], lora_dropout=0.1))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    under_lora = logit_gradient_norms(adapted, IDS, POSITIONS, estimator=estimator)
    judged = logit_gradient_norms(adapted, IDS, POSITIONS, estimator="reference")
    merged = logit_gradient_norms(adapted.merge_and_unload(), IDS, POSITIONS, estimator="reference")
    torch.testing.assert_close(under_lora, merged[:, -under_lora.shape[1] :], rtol=1e-5, atol=0)
    torch.testing.assert_close(judged, merged, rtol=1e-5, atol=0)


@given(
    positions=st.lists(st.integers(1, LENGTH - 1), min_size=0, max_size=8),
    projections=st.permutations("qkvo").flatmap(lambda p: st.integers(1, 4).map(lambda n: tuple(p[:n]))),
    layers=st.lists(st.integers(-3, 2), min_size=1, max_size=3, unique_by=lambda i: i % 3),
    estimator=st.sampled_from(["reference", "exact", "own"]),
)
@settings(max_examples=25, deadline=None)
def test_any_choice_of_tokens_layers_and_projections_is_a_part_of_the_whole(
    positions, projections, layers, estimator
):
    model = shared_model(LLAMA, torch.float64)
    complete = logit_gradient_norms(model, IDS, range(1, LENGTH), estimator=estimator)
    part = logit_gradient_norms(
        model, IDS, positions, estimator=estimator, projections=projections, layers=layers
    )
    rows = torch.tensor(positions, dtype=torch.long) - 1
    expected = complete[rows][:, layers][:, :, ["qkvo".index(p) for p in projections]]
    torch.testing.assert_close(part, expected, rtol=1e-6, atol=1e-12)  # K and Q of a first token: 0


def test_exact_in_small_passes_equals_exact_at_once(monkeypatch):
    from corrpo.strength.estimators import exact

    model = LLAMA.model(torch.float64)
    at_once = logit_gradient_norms(model, IDS, range(1, LENGTH))
    monkeypatch.setattr(exact, "MEMORY_BUDGET", 1)
    one_by_one = logit_gradient_norms(model, IDS, range(1, LENGTH))
    torch.testing.assert_close(at_once, one_by_one, rtol=1e-6, atol=0)


def test_own_block_by_block_equals_own_at_once(monkeypatch):
    from corrpo.strength.estimators import own

    model = LLAMA.model(torch.float64)
    at_once = logit_gradient_norms(model, IDS, POSITIONS, estimator="own")
    monkeypatch.setattr(own, "free_memory", lambda _device: 1)
    by_blocks = logit_gradient_norms(model, IDS, POSITIONS, estimator="own")
    torch.testing.assert_close(at_once, by_blocks, rtol=1e-9, atol=0)


def test_row_blocks_of_attention_do_not_change_any_estimator(monkeypatch):
    from corrpo.strength.attention import calls as attention

    model = LLAMA.model(torch.float64)
    calls = [
        lambda e=e: logit_gradient_norms(model, IDS, POSITIONS, estimator=e) for e in ("own", "last", "exact")
    ]
    complete = [call() for call in calls]
    monkeypatch.setattr(attention, "BLOCK_ELEMENTS", 1)
    for before, call in zip(complete, calls, strict=True):
        torch.testing.assert_close(call(), before, rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"estimator": "fast"}, "reference, exact, pruned, last, own"),
        ({"norm": "trace"}, "nuclear, frobenius, spectral, l1"),
        ({"target": "loss"}, "logit, logprob"),
        ({"projections": ("q", "x")}, "expected distinct names"),
        ({"projections": ()}, "at least one"),
        ({"layers": [3]}, r"expected indices in \[-3, 2\]"),
        ({"layers": [0, -3]}, "named twice"),
        ({"layers": [0], "estimator": "last"}, "last attention layer alone"),
        ({"positions": [0]}, r"expected positions in \[1, 21\]"),
        ({"positions": [22]}, "position 22"),
        ({"input_ids": IDS.expand(2, -1)}, "LongTensor"),
        ({"attention_mask": torch.ones(3, dtype=torch.long)}, "attention_mask has shape"),
        ({"attention_mask": (IDS * 0 + 1).index_fill(0, torch.tensor([3]), 0)}, "padding between tokens"),
        ({"positions": torch.tensor([5.9])}, "whole numbers"),
        ({"positions": [True, False]}, "whole numbers"),
        ({"attention_mask": [1] * 22}, r"attention_mask=\[1, 1.*expected a Tensor"),
        ({"input_ids": IDS + 60}, "the model knows 0 to 52"),
        ({"positions": [21], "attention_mask": torch.arange(22).lt(20).long()}, "position 21"),
    ],
)
def test_a_bad_argument_is_named(arguments, words, no_shape_checks, monkeypatch):
    monkeypatch.setattr(SequenceOptions, "__init__", no_shape_checks(SequenceOptions.__init__))
    sequence = {name: arguments.pop(name) for name in ("input_ids", "positions") if name in arguments}
    call = {"input_ids": IDS, "positions": POSITIONS, **sequence}
    with pytest.raises(BadInputError, match=words):
        no_shape_checks(logit_gradient_norms)(
            shared_model(LLAMA), **call, options=SequenceOptions(**arguments)
        )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_batch_of_one_sequence_is_that_sequence(estimator):
    model, (ids, mask, positions) = LLAMA.model(), Problem("left", "Llama", padding="left").sequence()
    single = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator=estimator)
    batch = logit_gradient_norms(model, ids[None], positions, attention_mask=mask[None], estimator=estimator)
    assert torch.equal(single, batch)


def test_the_settings_are_listed_for_help_and_a_misspelt_one_is_named():
    assert "estimator (default 'exact'): How gradients are found" in logit_gradient_norms.__doc__
    assert "attention_mask" in inspect.signature(logit_gradient_norms).parameters
    with pytest.raises(BadInputError, match="no option 'estimater'.*did you mean estimator"):
        logit_gradient_norms(LLAMA.model(), IDS, POSITIONS, estimater="own")


def test_a_model_of_another_layout_is_refused():
    model = XLMWithLMHeadModel(XLMConfig(emb_dim=16, n_layers=1, n_heads=2, vocab_size=53))
    with pytest.raises(UnsupportedModelError, match="XLMWithLMHeadModel: no attention.*docs/MODELS.md"):
        logit_gradient_norms(model, IDS, POSITIONS)


@pytest.mark.parametrize("estimator", ["own", "last"])
def test_attention_that_own_and_last_do_not_model_is_refused_with_those_that_fit(estimator):
    """Attention sinks (gpt-oss) change the softmax; `exact` differentiates the model's own code."""
    from transformers import GptOssConfig, GptOssForCausalLM

    config = GptOssConfig(
        vocab_size=53,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
    )
    model = GptOssForCausalLM(config).eval()
    with pytest.raises(UnsupportedModelError, match="s_aux.*'exact' or 'reference'"):
        logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    exact = logit_gradient_norms(model, IDS, POSITIONS, estimator="exact")
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    torch.testing.assert_close(exact, truth, rtol=1e-3, atol=0)


def test_last_refuses_a_model_that_mixes_positions_after_the_last_attention():
    model = LLAMA.model()
    mlp = model.model.layers[-1].mlp
    mlp.register_forward_hook(lambda _m, _i, output: output + output.cumsum(1))
    with pytest.raises(UnsupportedModelError, match="'exact' or 'reference'"):
        logit_gradient_norms(model, IDS, POSITIONS, estimator="last")
    exact = logit_gradient_norms(model, IDS, POSITIONS, estimator="exact")
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    torch.testing.assert_close(exact, truth, rtol=1e-3, atol=0)


@pytest.mark.parametrize("estimator", ["last", "own"])
def test_mixing_is_noticed_even_when_every_position_is_a_target(estimator):
    model = LLAMA.model()
    model.model.layers[-1].mlp.register_forward_hook(lambda _m, _i, output: output + output.cumsum(1))
    with pytest.raises(UnsupportedModelError, match="attention alone mixes positions"):
        logit_gradient_norms(model, IDS, range(1, LENGTH), estimator=estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_it_works_inside_inference_mode(estimator):
    model = LLAMA.model()
    outside = logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    with torch.inference_mode():
        inside = logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    torch.testing.assert_close(inside, outside, rtol=0, atol=0)


def test_layers_carry_the_module_path_for_messages():
    layers = find_attention_layers(shared_model(LLAMA))
    assert [layer.name for layer in layers] == [f"model.layers.{i}.self_attn" for i in range(3)]


def test_every_supported_family_is_in_the_problem_list():
    families = {problem.family for problem in PROBLEMS}
    dense = {"Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3", "Olmo2", "OPT", "Phi", "DiffLlama"}
    fused = {"CodeGen", "GPTJ", "GPT2", "GPTBigCode", "GPTNeoX", "Persimmon", "Phi3", "Dbrx"}
    experts = {"Mixtral", "Qwen3Moe", "GptOss"}
    latent = {"DeepseekV2", "DeepseekV3", "DeepseekV32", "AXK2", "MiniCPM3"}
    assert families == dense | OWN_ATTENTION | fused | experts | latent | {"Qwen3Next", "Qwen3_5"}
    for family in families:
        paddings = {problem.padding for problem in PROBLEMS if problem.family == family}
        assert "" in paddings
