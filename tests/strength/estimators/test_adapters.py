"""Adapters, merged or not, and models that torch.compile or another attention backend is at work in."""

import peft
import pytest
import torch
from torch import nn

from corrpo.strength.estimators import ESTIMATORS
from corrpo.strength.estimators.own_batched import batched_own
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_attention_layers
from problems import Problem

LLAMA = Problem("llama", "Llama")
QWEN3 = Problem("qwen3", "Qwen3", {"head_dim": 12, "tie_word_embeddings": True})
IDS, _, POSITIONS = LLAMA.sequence()
TOKENS = [int(IDS[2]), int(IDS[3])]
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ALL = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]

ADAPTERS = {
    "lora": peft.LoraConfig(r=4, target_modules=ALL),
    "lora-on-two-with-dropout": peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], lora_dropout=0.5),
    "rslora": peft.LoraConfig(r=4, target_modules=ALL, use_rslora=True),
    "dora": peft.LoraConfig(r=4, target_modules=ALL, use_dora=True, lora_dropout=0.5),
    "on-the-head": peft.LoraConfig(r=4, target_modules=[*ALL, "lm_head"]),
    "modules-to-save": peft.LoraConfig(r=4, target_modules=ALL, modules_to_save=["lm_head"]),
    "trained-tokens": peft.LoraConfig(r=4, target_modules=ALL, trainable_token_indices=TOKENS),
    "ia3": peft.IA3Config(target_modules=[*ATTENTION, "down_proj"], feedforward_modules=["q_proj"]),
}


def stirred(model: nn.Module, seed: int = 3) -> nn.Module:
    """The model with every number of its adapters away from its start, at which most have no effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(word in name for word in ("lora_", "ia3_", "modules_to_save", "trainable_tokens")):
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                start = parameter if parameter.abs().sum() else 0.0
                parameter.copy_(start + 0.1 * noise)
    return model


def adapted(name: str, problem: Problem = LLAMA, dtype: torch.dtype = torch.float64) -> nn.Module:
    return stirred(peft.get_peft_model(problem.model(dtype), ADAPTERS[name]))


def measured(model: nn.Module, estimator: str, **options) -> torch.Tensor:
    return logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator, **options)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_beside_its_base_gives_what_the_merged_model_gives(name, estimator):
    """The gradient of the effective weight; in train mode, in which dropout would be at work."""
    model = adapted(name).train()
    base = measured(LLAMA.model(torch.float64), estimator)
    beside = measured(model, estimator)
    assert all(module.training for module in model.modules())
    merged = measured(model.merge_and_unload(), estimator)
    torch.testing.assert_close(beside, merged, rtol=1e-5, atol=0)
    assert ((merged - base).abs() / base).max() > 1e-2, "the adapter must change what is measured"


@pytest.mark.parametrize("name", ["lora", "dora", "ia3"])
def test_under_an_adapter_exact_and_last_equal_reference(name):
    model = adapted(name, QWEN3)
    truth = measured(model, "reference")
    torch.testing.assert_close(measured(model, "exact"), truth, rtol=1e-5, atol=0)
    torch.testing.assert_close(measured(model, "last"), truth[:, -1:], rtol=1e-5, atol=0)


def test_reference_under_lora_is_the_gradient_of_the_base_weight_itself():
    model = adapted("lora")
    layer = find_attention_layers(model)[1]
    weight = layer.projections["k"].module.base_layer.weight.requires_grad_(True)
    logits = model(input_ids=IDS[None], use_cache=False).logits[0]
    (gradient,) = torch.autograd.grad(logits[POSITIONS[0] - 1, IDS[POSITIONS[0]]], weight)
    judged = measured(model, "reference", projections=["k"], layers=[1])
    torch.testing.assert_close(judged[0, 0, 0], torch.linalg.svdvals(gradient).sum(), rtol=1e-7, atol=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_adapters_that_are_merged_disabled_or_one_of_several(estimator):
    model = adapted("lora")
    first = measured(model, estimator)
    model.merge_adapter()
    torch.testing.assert_close(measured(model, estimator), first, rtol=1e-5, atol=0)
    model.unmerge_adapter()
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["q_proj"]))
    stirred(model, seed=4)
    model.set_adapter("second")
    second = measured(model, estimator)
    model.base_model.set_adapter(["default", "second"])
    both = measured(model, estimator)
    with model.disable_adapter():
        base = measured(model, estimator)
    torch.testing.assert_close(measured(model, estimator), both, rtol=0, atol=0)
    for other in (second, both, base):
        assert ((other - first).abs() / first).max() > 1e-2
    torch.testing.assert_close(base, measured(LLAMA.model(torch.float64), estimator), rtol=1e-5, atol=0)
    torch.testing.assert_close(measured(model.merge_and_unload(), estimator), both, rtol=1e-5, atol=0)


def test_own_in_batches_under_an_adapter_gives_what_the_merged_model_gives():
    model = adapted("dora")
    batch = torch.stack([IDS, IDS.flip(0)])
    targets = torch.zeros_like(batch, dtype=torch.bool)
    targets[:, 9:] = True

    def both(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        return batched_own(model, batch, targets, find_attention_layers(model), PROJECTIONS)

    beside, merged = both(model), both(model.merge_and_unload())
    torch.testing.assert_close(beside, merged, rtol=1e-5, atol=0)


def compiled(how: str) -> nn.Module:
    """A model that torch.compile is at work in; its backend needs no C++ compiler."""
    model = LLAMA.model()
    if how == "wrapped":
        return torch.compile(model, backend="aot_eager")  # pyright: ignore
    if how == "in place":
        model.compile(backend="aot_eager")
    elif how == "forward":
        model.forward = torch.compile(model.forward, backend="aot_eager")
    elif how == "a layer":
        model.model.layers[1].compile(backend="aot_eager")
    elif how == "the head":
        model.lm_head = torch.compile(model.lm_head, backend="aot_eager")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wrapped", "in place", "forward", "a layer", "the head"])
def test_a_compiled_model_is_measured_and_stays_compiled(how):
    model = compiled(how)
    truth = {estimator: measured(LLAMA.model(), estimator) for estimator in ESTIMATORS}
    with torch.no_grad():
        before = model(input_ids=IDS[None], use_cache=False).logits
    for estimator, expected in truth.items():
        torch.testing.assert_close(measured(model, estimator), expected, rtol=1e-5, atol=0)
    with torch.no_grad(), torch.compiler.set_stance("fail_on_recompile"):
        after = model(input_ids=IDS[None], use_cache=False).logits
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    torch._dynamo.reset()
