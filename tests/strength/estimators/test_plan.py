"""How `exact` finds out how a model may be differentiated, and that every way gives the same."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from corrpo.strength.derivatives import differentiation_plan as plans
from corrpo.strength.derivatives.differentiation_plan import plan_for
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections.mixers import find_attention_layers
from corrpo.strength.spec import GradientSpec
from problems import PROBLEMS, Problem
from strength.estimators.unbatched import Doubled

IDS, _, POSITIONS = Problem("llama", "Llama").sequence()


def plan_of(model: nn.Module) -> plans.Plan:
    positions = POSITIONS.sort().values
    layers = find_attention_layers(model)
    return plan_for(GradientRequest(model, IDS[None], positions, layers, GradientSpec()))


def test_a_decoder_goes_block_by_block_with_attention_cut_out():
    plan = plan_of(Problem("llama", "Llama").model())
    assert (plan.backend, plan.chain, plan.batched) == ("corrpo_cut", True, True)
    assert plan.graph_bytes(100) > 0


@pytest.mark.parametrize("name", ["bloom-alibi", "qwen2-gqa"])
def test_what_the_graph_of_a_longer_prefix_keeps_follows_from_four_tokens(name):
    """Attention weights, which grow with the square of it, are kept where attention is not cut out."""
    problem = next(problem for problem in PROBLEMS if problem.name == name)
    model, (ids, _, _) = problem.model(), problem.sequence()
    plan = plan_of(model)
    layers, positions = find_attention_layers(model), torch.tensor([len(ids) - 1])
    request = GradientRequest(model, ids[None], positions, layers, GradientSpec())
    _, kept = plans._graph_bytes(request, plan, len(ids) - 1)
    assert plan.graph_bytes(len(ids) - 1) == pytest.approx(kept, rel=0.03)
    weights = 4 * model.config.num_attention_heads * model.config.num_hidden_layers  # bytes of float32
    assert plan.pair_bytes == (weights if name == "bloom-alibi" else 0)


def test_a_model_is_tried_anew_under_autocast():
    """What autograd keeps is smaller there, and how far plans may differ is larger."""
    model = Problem("llama", "Llama").model()
    wide = plan_of(model)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = plan_of(model)
    assert narrow.token_bytes < wide.token_bytes
    assert narrow.copy_bytes > wide.copy_bytes == 0
    assert plan_of(model) is wide


@pytest.mark.parametrize(
    "place", ["differentiation_plan._deltas", "differentiation_plan.block_chain.check_chain"]
)
def test_want_of_memory_is_told_as_such(place, monkeypatch):
    """And no slower plan is taken for it, which would be kept."""

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"corrpo.strength.derivatives.{place}", full)
    with pytest.raises(torch.OutOfMemoryError):
        plan_of(Problem("llama", "Llama").model())


@pytest.mark.parametrize("backend", ["corrpo_cut", "eager", None])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_every_plan_gives_the_same(backend, batched, budget, monkeypatch):
    from corrpo.strength.estimators import exact

    model = Problem("gemma2", "Gemma2", {"attn_logit_softcapping": 3.0}).model(torch.float64)
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    own = plan_of(model)
    monkeypatch.setattr(
        "corrpo.strength.estimators.exact.plan_for", lambda _: replace(own, backend=backend, batched=batched)
    )
    monkeypatch.setattr(exact, "MEMORY_BUDGET", budget)
    result = logit_gradient_norms(model, IDS, POSITIONS)
    torch.testing.assert_close(result, truth, rtol=1e-5, atol=0)


class Shared(nn.Module):
    """A block that also reads what the first block wrote, as models that share values across blocks do."""

    def __init__(self, block: nn.Module, written: list):
        super().__init__()
        self.block, self.written = block, written

    def forward(self, hidden_states, **options):
        output = self.block(hidden_states, **options)
        self.written.append(output)
        return output + 0.1 * self.written[0]


def test_a_model_with_a_path_beside_its_chain_of_blocks_is_differentiated_whole():
    model = Problem("llama", "Llama").model(torch.float64)
    written: list = []
    model.model.layers = nn.ModuleList(Shared(block, written) for block in model.model.layers)
    model.model.register_forward_pre_hook(lambda *_: written.clear())
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    assert not plan_of(model).chain
    torch.testing.assert_close(logit_gradient_norms(model, IDS, POSITIONS), truth, rtol=1e-5, atol=0)


def test_a_model_that_cannot_be_differentiated_for_many_targets_at_once_takes_them_one_by_one():
    model = Problem("llama", "Llama").model(torch.float64)
    for block in model.model.layers:
        block.mlp.register_forward_hook(lambda _module, _args, output: Doubled.apply(output))
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    plan = plan_of(model)
    assert plan.chain
    assert not plan.batched
    torch.testing.assert_close(logit_gradient_norms(model, IDS, POSITIONS), truth, rtol=1e-5, atol=0)
