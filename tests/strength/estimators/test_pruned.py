"""`pruned` against its judge, which prunes in plain code, and against `exact` where nothing is dropped."""

import pytest
import torch
from torch import nn

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.strength.derivatives.pruned_backward import Sizes
from corrpo.strength.estimators import DEFAULT_KEPT, pruned
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.spec import GradientSpec
from problems import LENGTH, PROBLEMS, Problem
from shared_models import shared_model
from strength.estimators.pruned_judge import pruned_by_hand

LLAMA = Problem("llama", "Llama")
IDS, _, POSITIONS = LLAMA.sequence()
FITTING = [problem for problem in PROBLEMS if "pruned" in problem.fits]
UNPADDED = [problem for problem in FITTING if not problem.padding]


def name_of(value) -> str:
    return getattr(value, "name", str(value))


@pytest.mark.parametrize("problem", FITTING, ids=name_of)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_with_every_position_kept_it_is_exact(problem, dtype):
    """Norms inside transformers' models are taken in float32, so that float64 agrees to 1e-6 at best."""
    model = shared_model(problem, dtype)
    ids, mask, positions = problem.sequence()
    truth = logit_gradient_norms(model, ids, positions, attention_mask=mask)
    found = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator="pruned", kept=LENGTH)
    bar = 1e-5 if dtype == torch.float64 else 1e-3
    torch.testing.assert_close(found, truth, rtol=bar, atol=0)


@pytest.mark.parametrize("problem", UNPADDED, ids=name_of)
@pytest.mark.parametrize("kept", [1, 2, 4])
def test_it_prunes_as_its_judge_does(problem, kept):
    ids, _, positions = problem.sequence()
    found = logit_gradient_norms(
        shared_model(problem, torch.float64), ids, positions, estimator="pruned", kept=kept
    )
    judged = pruned_by_hand(problem.model(torch.float64), ids, positions, Sizes.of(kept))
    torch.testing.assert_close(found, judged, rtol=1e-5, atol=1e-9 * float(judged.max()))


@pytest.mark.parametrize("norm", ["frobenius", "spectral", "l1"])
@pytest.mark.parametrize("target", ["logit", "logprob"])
def test_other_norms_and_targets(norm, target):
    model = shared_model(LLAMA, torch.float64)
    options = {"norm": norm, "target": target}
    truth = logit_gradient_norms(model, IDS, POSITIONS, **options)
    found = logit_gradient_norms(model, IDS, POSITIONS, estimator="pruned", kept=LENGTH, **options)
    torch.testing.assert_close(found, truth, rtol=1e-5, atol=0)


def test_want_of_memory_is_not_taken_for_a_model_that_does_not_fit(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pruned, "exact_norms", full)
    with pytest.raises(torch.OutOfMemoryError):
        logit_gradient_norms(LLAMA.model(), IDS, POSITIONS, estimator="pruned")


@pytest.mark.parametrize("projections", [("q", "k"), ("k",)])
def test_a_model_may_be_met_by_tokens_that_are_all_alike(projections):
    """Their attention has nothing to choose, so that Q and K have no gradient but rounding."""
    model = LLAMA.model()
    same = torch.full((40,), 5)
    norms = logit_gradient_norms(model, same, [3, 30], estimator="pruned", kept=40, projections=projections)
    exact = logit_gradient_norms(model, same, [3, 30], projections=projections)
    torch.testing.assert_close(norms, exact, rtol=0, atol=1e-4)


def test_a_model_may_be_met_by_two_tokens_whose_query_has_no_gradient():
    """The first of two tokens attends to itself alone."""
    model = Problem("gemma2", "Gemma2", {"attention_bias": True}).model(torch.float64)
    options = {"projections": ("k", "q")}
    found = logit_gradient_norms(model, IDS[:2], [1], estimator="pruned", **options)
    values = logit_gradient_norms(model, IDS[:2], [1], projections=("v",))
    assert found.max() < 1e-6 * values.max()


def test_layers_and_projections_are_a_part_of_the_whole():
    model = shared_model(LLAMA, torch.float64)
    whole = logit_gradient_norms(model, IDS, POSITIONS, estimator="pruned", kept=2)
    part = logit_gradient_norms(
        model, IDS, POSITIONS, estimator="pruned", kept=2, layers=[-1, 1], projections=["v", "q"]
    )
    torch.testing.assert_close(part, whole[:, [2, 1]][:, :, [2, 0]], rtol=1e-9, atol=0)


def test_targets_in_groups_are_targets_at_once(monkeypatch):
    model = shared_model(LLAMA, torch.float64)
    at_once = logit_gradient_norms(model, IDS, range(1, LENGTH), estimator="pruned", kept=2)
    monkeypatch.setattr(pruned, "budget", lambda _device: 1)
    one_by_one = logit_gradient_norms(model, IDS, range(1, LENGTH), estimator="pruned", kept=2)
    torch.testing.assert_close(one_by_one, at_once, rtol=1e-6, atol=1e-9)


def test_kept_has_a_default_and_belongs_to_pruned_alone():
    assert GradientSpec(estimator="pruned").kept == DEFAULT_KEPT
    assert GradientSpec().kept is None
    with pytest.raises(BadInputError, match="kept=8 with estimator 'exact': only 'pruned'"):
        GradientSpec(kept=8)
    with pytest.raises(BadInputError, match="kept=0: expected a number of positions, 1 or more"):
        GradientSpec(estimator="pruned", kept=0)


class MixingMLP(nn.Module):
    """An MLP that adds what it gave for all positions before."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp = mlp

    def forward(self, hidden):
        output = self.mlp(hidden)
        return output + output.cumsum(1)


def test_a_model_in_which_more_than_attention_mixes_positions_is_refused():
    model = LLAMA.model()
    model.model.layers[1].mlp = MixingMLP(model.model.layers[1].mlp)
    with pytest.raises(UnsupportedModelError, match="'pruned' needs .* attention alone .* 'exact' or"):
        logit_gradient_norms(model, IDS, POSITIONS, estimator="pruned")


def test_a_block_that_does_more_than_add_is_refused():
    shape = {"do_layer_norm_before": False, "ffn_dim": 40, "word_embed_proj_dim": 32}
    model = next(problem for problem in PROBLEMS if problem.name == "opt")
    model = Problem("opt-350m", "OPT", shape, shape=model.shape).model()
    with pytest.raises(UnsupportedModelError, match="do more to them than add.*'exact' or 'reference'"):
        logit_gradient_norms(model, IDS, POSITIONS, estimator="pruned")
