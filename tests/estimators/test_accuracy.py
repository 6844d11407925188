"""Every estimator against `reference`, over the shared problem list (METHOD 7: accuracy bars)."""

import pytest
import torch

from corrpo.entropy import token_entropy
from corrpo.estimators import logit_gradient_norms
from problems import PROBLEMS, Problem, padded_reference

BARS = {torch.float64: 1e-5, torch.float32: 1e-3}


def relative_error(value: torch.Tensor, truth: torch.Tensor) -> float:
    return ((value.double() - truth.double()).abs() / truth.double().abs()).max().item()


@pytest.fixture(params=PROBLEMS, ids=lambda problem: problem.name)
def problem(request) -> Problem:
    return request.param


@pytest.mark.parametrize("dtype", BARS, ids=str)
def test_exact_and_last_equal_reference_token_by_token(problem, dtype):
    model = problem.model(dtype)
    ids, mask, positions = problem.sequence()
    truth = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="reference")
    assert truth.shape == (len(positions), 3, 4)
    assert (truth > 0).all()
    exact = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="exact")
    last = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="last")
    assert relative_error(exact, truth) < BARS[dtype]
    assert relative_error(last, truth[:, -1:]) < BARS[dtype]


def test_padding_read_by_the_model_gives_the_same_norms_as_padding_taken_away(problem):
    """In float32: transformers' eager attention gives NaN at padding in float64 (Gemma 2)."""
    model = problem.model(torch.float32)
    ids, mask, positions = problem.sequence()
    truth = padded_reference(model, ids, mask, positions)
    exact = logit_gradient_norms(model, ids, positions, attention_mask=mask)
    assert relative_error(exact, truth) < BARS[torch.float32]


@pytest.mark.parametrize("norm", ["frobenius", "spectral", "l1"])
@pytest.mark.parametrize("target", ["logit", "logprob"])
def test_other_norms_and_targets(problem, norm, target):
    model = problem.model(torch.float64)
    ids, mask, positions = problem.sequence()
    options = {"attention_mask": mask, "norm": norm, "target": target}
    truth = logit_gradient_norms(model, ids, positions, estimator="reference", **options)
    exact = logit_gradient_norms(model, ids, positions, estimator="exact", **options)
    last = logit_gradient_norms(model, ids, positions, estimator="last", **options)
    assert relative_error(exact, truth) < 1e-5
    assert relative_error(last, truth[:, -1:]) < 1e-5


def test_own_is_exact_for_q_and_o_of_the_last_layer(problem):
    model = problem.model(torch.float64)
    ids, mask, positions = problem.sequence()
    truth = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="reference")
    own = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="own")
    assert own.shape == truth.shape
    assert relative_error(own[:, -1, [0, 3]], truth[:, -1, [0, 3]]) < 1e-5


def test_own_equals_blocking_every_other_position_by_hand(problem):
    """The definition of METHOD 5 in the plainest code: all positions but one carry no gradient.

    The keys and values of other positions are constants: the gradient at the projections' outputs is
    masked, position by position, on its way back through each of them.
    """
    model = problem.model(torch.float64)
    ids, mask, positions = problem.sequence()
    own = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="own")
    kept, shift = ids[mask.bool()], int((mask.cumsum(0) == 0).sum())
    truth = torch.stack([own_by_hand(model, kept, p - shift) for p in positions.tolist()])
    assert relative_error(own, truth) < 1e-5


def own_by_hand(model: torch.nn.Module, ids: torch.Tensor, position: int) -> torch.Tensor:
    row, record, handles = position - 1, [], []

    def only_own_row(gradient: torch.Tensor) -> torch.Tensor:
        blocked = torch.zeros_like(gradient)
        blocked[:, row] = gradient[:, row]
        return blocked

    def observe(_module, args, output):
        output.register_hook(only_own_row)
        output.retain_grad()
        record.append((args[0], output))

    for layer in [module for module in model.modules() if hasattr(module, "q_proj")]:
        handles += [getattr(layer, f"{kind}_proj").register_forward_hook(observe) for kind in "qkvo"]
    score = model(input_ids=ids[None]).logits[0, row, ids[position]]
    score.backward()
    model.zero_grad()
    for handle in handles:
        handle.remove()
    norms = [(a[0, row].norm() * o.grad[0, row].norm()).detach() for a, o in record]
    return torch.stack(norms).reshape(-1, 4)


def test_bfloat16_ranks_tokens_like_float32(problem):
    """bfloat16 rounds to 3 digits; what must survive is the order of the tokens."""
    from scipy.stats import spearmanr

    ids, mask, _ = problem.sequence()
    positions = (mask.cumsum(0) > 2).nonzero()[:, 0]
    positions = positions[mask[positions].bool()]
    strengths = []
    for dtype in (torch.float32, torch.bfloat16):
        model = problem.model().to(dtype)
        strengths.append(logit_gradient_norms(model, ids, positions, attention_mask=mask).mean((1, 2)))
    assert spearmanr(*strengths).statistic > 0.8


def test_entropy_of_the_model_is_in_bits(problem):
    model = problem.model()
    logits = model(input_ids=problem.sequence()[0][None]).logits
    truth = torch.distributions.Categorical(logits=logits.double()).entropy() / torch.tensor(2.0).log()
    torch.testing.assert_close(token_entropy(logits).double(), truth, rtol=1e-5, atol=1e-6)
