"""Recurrent mixers and linear attention: found, measured exactly, refused where an estimator does not fit."""

import pytest
import torch

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.token_rows import measure_response
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.rollouts import RolloutMeter
from corrpo.strength.entropy import token_entropy
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections.mixers import find_layers, find_mixers
from recurrent_problems import (
    IN_OUT,
    MAMBA,
    OLMO_HYBRID,
    QKVO,
    RECURRENT,
    Float64Throughout,
    RecurrentProblem,
)
from shared_models import shared_model

BARS = {torch.float64: 1e-5, torch.float32: 1e-3}
BY_NAME = {problem.name: problem for problem in RECURRENT}


def relative_error(value: torch.Tensor, truth: torch.Tensor) -> float:
    return ((value.double() - truth.double()).abs() / truth.double().abs()).max().item()


@pytest.fixture(params=RECURRENT, ids=lambda problem: problem.name)
def problem(request) -> RecurrentProblem:
    return request.param


def test_every_mixer_is_found_once_with_the_names_of_its_modules(problem):
    model = shared_model(problem)
    mixers = find_mixers(model)
    counts: dict[tuple[str, ...], int] = {}
    for mixer in mixers:
        kinds = tuple(mixer.projections)
        counts[kinds] = counts.get(kinds, 0) + 1
        assert model.get_submodule(mixer.name) is mixer.mixer
    assert counts == problem.mixers
    assert [mixer.index for mixer in mixers] == list(range(len(mixers)))
    for kinds, count in problem.mixers.items():
        assert len(find_layers(model, kinds)) == count


@pytest.mark.parametrize("dtype", BARS, ids=str)
def test_exact_equals_reference(problem, dtype):
    model = shared_model(problem, dtype)
    ids, positions = problem.sequence()
    for kinds, count in problem.mixers.items():
        truth = logit_gradient_norms(model, ids, positions, projections=kinds, estimator="reference")
        assert truth.shape == (len(positions), count, len(kinds))
        assert (truth > 0).all()
        if not (problem.shared_attention and kinds == QKVO):
            exact = logit_gradient_norms(model, ids, positions, projections=kinds)
            assert relative_error(exact, truth) < BARS[dtype]
        else:
            with pytest.raises(UnsupportedModelError, match="use 'reference'"):
                logit_gradient_norms(model, ids, positions, projections=kinds)


def test_last_and_own_refuse_other_mixers_than_attention(problem):
    model = shared_model(problem)
    ids, positions = problem.sequence()
    for kinds in set(problem.mixers) - {QKVO}:
        for name in ("last", "own"):
            with pytest.raises(UnsupportedModelError, match=rf"{name!r}.* use .*'reference'"):
                logit_gradient_norms(model, ids, positions, projections=kinds, estimator=name)


def test_last_measures_attention_that_no_other_mixer_follows_and_refuses_the_rest(problem):
    if not any(set(QKVO) <= set(kinds) for kinds in problem.mixers):
        pytest.skip("a model without attention")
    model = shared_model(problem, torch.float64)
    ids, positions = problem.sequence()
    if problem.last:
        truth = logit_gradient_norms(model, ids, positions, layers=[-1], estimator="reference")
        last = logit_gradient_norms(model, ids, positions, estimator="last")
        assert relative_error(last, truth) < 1e-5
        own = logit_gradient_norms(model, ids, positions, layers=[-1], estimator="own")
        assert relative_error(own[..., [0, 3]], truth[..., [0, 3]]) < 1e-5
    else:
        for name in ("last", "own"):
            with pytest.raises(UnsupportedModelError, match=f"{name!r}.* use .*'reference'"):
                logit_gradient_norms(model, ids, positions, estimator=name)


def test_other_norms_and_targets(problem):
    model = shared_model(problem, torch.float64)
    ids, positions = problem.sequence()
    kinds = next(kinds for kinds in problem.mixers if kinds != QKVO)
    for norm in ("frobenius", "spectral", "l1"):
        options = {"projections": kinds, "norm": norm, "target": "logprob"}
        truth = logit_gradient_norms(model, ids, positions, estimator="reference", **options)
        assert relative_error(logit_gradient_norms(model, ids, positions, **options), truth) < 1e-5


@pytest.mark.parametrize("length", [2, 8, 9])
@pytest.mark.parametrize(
    "name", ["mamba2", "qwen3-next", "falcon-h1-side-by-side", "minimax-lightning", "xlstm"]
)
def test_sequences_of_other_lengths_than_a_scan_reads_at_once(name, length):
    problem = BY_NAME[name]
    model = shared_model(problem, torch.float64)
    ids = problem.sequence()[0][:length]
    kinds = next(kinds for kinds in problem.mixers if kinds != QKVO)
    with Float64Throughout():
        truth = logit_gradient_norms(model, ids, [length - 1], projections=kinds, estimator="reference")
        exact = logit_gradient_norms(model, ids, [length - 1], projections=kinds)
    torch.testing.assert_close(exact, truth, rtol=1e-5, atol=1e-9)  # some gradients of two tokens are 0


def test_a_hybrid_model_says_which_projections_its_layers_hold():
    model = shared_model(BY_NAME["jamba"])
    with pytest.raises(BadInputError) as raised:
        find_layers(model, ("q", "in_proj"))
    assert " ".join(MAMBA) in str(raised.value)
    assert " ".join(QKVO) in str(raised.value)


def test_two_mixers_side_by_side_in_a_block_are_both_found():
    names = [mixer.name for mixer in find_mixers(shared_model(BY_NAME["falcon-h1-side-by-side"]))]
    blocks = [f"model.layers.{block}" for block in range(3)]
    assert sorted(names) == sorted(f"{block}.{part}" for block in blocks for part in ("mamba", "self_attn"))


def test_the_default_projections_of_a_hybrid_are_those_of_its_softmax_attention():
    """OLMo-Hybrid's delta layers have a q_proj, k_proj, v_proj and o_proj, yet are no softmax attention."""
    model = shared_model(BY_NAME["olmo-hybrid"])
    assert [layer.name for layer in find_layers(model, QKVO)] == ["model.layers.1.self_attn"]
    assert [layer.index for layer in find_layers(model, OLMO_HYBRID)] == [0, 2]


def test_shared_weights_are_refused_even_if_one_of_the_layers_is_measured():
    problem = BY_NAME["zamba2-shared-attention"]
    ids, positions = problem.sequence()
    for name in ("exact", "own", "last"):
        with pytest.raises(UnsupportedModelError, match="share the weights of q"):
            logit_gradient_norms(shared_model(problem), ids, positions, layers=[-1], estimator=name)


def test_a_model_that_ignores_logits_to_keep_is_measured_all_the_same():
    """xLSTM gives the logits of all positions whatever is asked for."""
    problem = BY_NAME["xlstm"]
    model = shared_model(problem, torch.float64)
    ids, _ = problem.sequence()
    assert model(input_ids=ids[None], use_cache=False, logits_to_keep=torch.tensor([4])).logits.shape[
        1
    ] == len(ids)
    for positions in ([7], list(range(1, len(ids)))):
        truth = logit_gradient_norms(model, ids, positions, projections=("v",), estimator="reference")
        assert relative_error(logit_gradient_norms(model, ids, positions, projections=("v",)), truth) < 1e-5


def test_responses_and_rollouts_of_such_a_model_are_measured(lab_tokenizer):
    model, (ids, _) = shared_model(BY_NAME["xlstm"]), BY_NAME["xlstm"].sequence()
    prompt, response = ids[:5].tolist(), ids[5:].tolist()
    options = MeasureOptions(projections=("v",))
    rows = measure_response(model, lab_tokenizer, prompt, response, "one", options)
    with torch.no_grad():
        entropy = token_entropy(model(input_ids=ids[None], use_cache=False).logits[0, 4:-1])
    assert rows["entropy_bits"].to_list() == pytest.approx(entropy.tolist(), rel=1e-5)
    settings = InversionSettings(inversion_estimator="exact", inversion_projections=["v"])
    rollouts = RolloutMeter(model, settings)(model, [prompt], [response])
    assert float(rollouts.entropy_mean) == pytest.approx(float(entropy.mean()), rel=1e-5)


def test_rwkv_weights_rescaled_for_inference_scale_the_gradient_of_output_alone():
    """The model halves `output` of later blocks in eval mode; the gradient is that of the halved weight."""
    problem = BY_NAME["rwkv"]
    ids, positions = problem.sequence()
    kinds = ("receptance", "key", "value", "output")
    plain, scaled = problem.model(torch.float64), problem.model(torch.float64)
    plain.rwkv.config.rescale_every, scaled.rwkv.config.rescale_every = 0, 1
    options = {"projections": kinds, "estimator": "reference"}
    ratio = logit_gradient_norms(scaled, ids, positions, **options) / logit_gradient_norms(
        plain, ids, positions, **options
    )
    expected = torch.tensor([[1.0, 1, 1, 2**block] for block in range(3)], dtype=torch.float64)
    torch.testing.assert_close(ratio, expected.expand_as(ratio), rtol=0.02, atol=0)


def test_the_model_is_left_as_found():
    problem = BY_NAME["mamba"]
    model = problem.model().train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    ids, positions = problem.sequence()
    logit_gradient_norms(model, ids, positions, projections=MAMBA)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert {name: None for name in before} == {name: None for name, _ in model.named_parameters()}
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_gated_convolution_is_no_mamba_mixer():
    model = shared_model(BY_NAME["lfm2"])
    assert [layer.name for layer in find_layers(model, IN_OUT)] == [
        "model.layers.0.conv",
        "model.layers.2.conv",
    ]
