"""Every estimator against `reference`, over the shared problem list (METHOD 7: accuracy bars)."""

import pytest
import torch

from corrpo.errors import UnsupportedModelError
from corrpo.strength.entropy import token_entropy
from corrpo.strength.estimators import ESTIMATORS
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_attention_layers
from problems import PROBLEMS, Problem, padded_reference
from shared_models import shared_model

BARS = {torch.float64: 1e-5, torch.float32: 1e-3}


def relative_error(value: torch.Tensor, truth: torch.Tensor) -> float:
    return ((value.double() - truth.double()).abs() / truth.double().abs()).max().item()


def over(problems):
    return pytest.mark.parametrize("problem", problems, ids=lambda problem: problem.name)


def fitting(estimator: str) -> list[Problem]:
    return [problem for problem in PROBLEMS if estimator in problem.fits]


def last_of(truth: torch.Tensor, estimator: str) -> torch.Tensor:
    """The layers that an estimator measures."""
    return truth[:, -1:] if estimator == "last" else truth


@over(PROBLEMS)
@pytest.mark.parametrize("dtype", BARS, ids=str)
def test_exact_and_last_equal_reference_token_by_token(problem, dtype):
    model = shared_model(problem, dtype)
    ids, mask, positions = problem.sequence()
    truth = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="reference")
    assert truth.shape == (len(positions), problem.layers, 4)
    assert (truth > 0).all()
    for estimator in {"exact", "last"} & set(problem.fits):
        norms = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator=estimator)
        assert relative_error(norms, last_of(truth, estimator)) < BARS[dtype], estimator


@over([problem for problem in PROBLEMS if set(problem.fits) != set(ESTIMATORS) - {"reference"}])
def test_an_estimator_that_does_not_fit_refuses_and_names_those_that_do(problem):
    model = shared_model(problem)
    ids, mask, positions = problem.sequence()
    for estimator in set(ESTIMATORS) - {"reference", *problem.fits}:
        with pytest.raises(UnsupportedModelError, match="'reference'") as refusal:
            logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator=estimator)
        assert "exact" not in problem.fits or "'exact'" in str(refusal.value)


@over(PROBLEMS)
def test_padding_read_by_the_model_gives_the_same_norms_as_padding_taken_away(problem):
    """In float32: transformers' eager attention gives NaN at padding in float64 (Gemma 2)."""
    model = shared_model(problem, torch.float32)
    ids, mask, positions = problem.sequence()
    truth = padded_reference(model, ids, mask, positions)
    estimator = "exact" if "exact" in problem.fits else "reference"
    norms = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator=estimator)
    assert relative_error(norms, truth) < BARS[torch.float32]


@over(fitting("exact"))
@pytest.mark.parametrize("norm", ["frobenius", "spectral", "l1"])
@pytest.mark.parametrize("target", ["logit", "logprob"])
def test_other_norms_and_targets(problem, norm, target):
    model = shared_model(problem, torch.float64)
    ids, mask, positions = problem.sequence()
    options = {"attention_mask": mask, "norm": norm, "target": target}
    truth = logit_gradient_norms(model, ids, positions, estimator="reference", **options)
    for estimator in {"exact", "last"} & set(problem.fits):
        norms = logit_gradient_norms(model, ids, positions, estimator=estimator, **options)
        assert relative_error(norms, last_of(truth, estimator)) < 1e-5, estimator


@over(fitting("own"))
def test_own_is_exact_for_q_and_o_of_the_last_layer(problem):
    model = shared_model(problem, torch.float64)
    ids, mask, positions = problem.sequence()
    truth = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="reference")
    own = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="own")
    assert own.shape == truth.shape
    assert relative_error(own[:, -1, [0, 3]], truth[:, -1, [0, 3]]) < 1e-5


@over(fitting("own"))
def test_own_equals_blocking_every_other_position_by_hand(problem):
    """The definition of METHOD 5 in the plainest code: all positions but one carry no gradient.

    The keys and values of other positions are constants: the gradient at the projections' outputs is
    masked, position by position, on its way back through each of them.
    """
    model = shared_model(problem, torch.float64)
    ids, mask, positions = problem.sequence()
    own = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="own")
    kept, shift = ids[mask.bool()], int((mask.cumsum(0) == 0).sum())
    truth = torch.stack([own_by_hand(model, kept, p - shift) for p in positions.tolist()])
    assert relative_error(own, truth) < 1e-5


def own_by_hand(model: torch.nn.Module, ids: torch.Tensor, position: int) -> torch.Tensor:
    row, record, handles = position - 1, {}, []
    layers = find_attention_layers(model)

    def only_own_row(gradient: torch.Tensor) -> torch.Tensor:
        blocked = torch.zeros_like(gradient)
        blocked[..., row, :] = gradient[..., row, :]
        return blocked

    def observe(module, args, output):
        output.register_hook(only_own_row)
        output.retain_grad()
        record[module] = args[0], output

    projections = [layer.projections[kind] for layer in layers for kind in PROJECTIONS]
    for module in {projection.module: None for projection in projections}:
        handles.append(module.register_forward_hook(observe))
    score = model(input_ids=ids[None]).logits[0, row, ids[position]]
    score.backward()
    model.zero_grad()
    for handle in handles:
        handle.remove()
    norms = []
    for projection in projections:
        inputs, output = record[projection.module]
        at = projection.of(output.grad)[..., row, :]
        norms.append((inputs[..., row, :].norm() * at.norm()).detach())
    return torch.stack(norms).reshape(len(layers), len(PROJECTIONS))


@over(fitting("exact"))
def test_bfloat16_ranks_tokens_like_float32(problem):
    """bfloat16 rounds to 3 digits; what must survive is the order of the tokens."""
    from scipy.stats import spearmanr

    ids, mask, _ = problem.sequence()
    positions = (mask.cumsum(0) > 2).nonzero()[:, 0]
    positions = positions[mask[positions].bool()]
    strengths = []
    for dtype in (torch.float32, torch.bfloat16):
        model = shared_model(problem, dtype)
        strengths.append(logit_gradient_norms(model, ids, positions, attention_mask=mask).mean((1, 2)))
    assert spearmanr(*strengths).statistic > 0.8


@over(PROBLEMS)
def test_entropy_of_the_model_is_in_bits(problem):
    model = shared_model(problem)
    logits = model(input_ids=problem.sequence()[0][None]).logits
    truth = torch.distributions.Categorical(logits=logits.double()).entropy() / torch.tensor(2.0).log()
    torch.testing.assert_close(token_entropy(logits).double(), truth, rtol=1e-5, atol=1e-6)
