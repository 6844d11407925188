"""A plan that `exact` remembers, or tried with a path of no weight, must not outlive what it was tried on."""

import pytest
import torch
from torch import nn

from corrpo.strength.estimators import exact as exact_module
from corrpo.strength.gradient_norms import logit_gradient_norms
from problems import Problem
from strength.estimators.unbatched import Doubled

LLAMA = Problem("llama", "Llama")
IDS, _, POSITIONS = LLAMA.sequence()


class Gated(nn.Module):
    """A block to whose output a gate adds what the first block wrote."""

    def __init__(self, block: nn.Module, written: list, gate: nn.Parameter):
        super().__init__()
        self.block, self.written, self.gate = block, written, gate

    def forward(self, hidden_states, **options):
        output = self.block(hidden_states, **options)
        self.written.append(output)
        return output + self.gate * self.written[0]


class Scaled(nn.Module):
    """A block whose output is scaled by a number that the block before left behind."""

    def __init__(self, block: nn.Module, left: list):
        super().__init__()
        self.block, self.left = block, left

    def forward(self, hidden_states, **options):
        scale = self.left[-1]
        self.left.append(scale + 1)
        return scale * self.block(hidden_states, **options)


def gated(model: nn.Module, value: float) -> nn.Parameter:
    written: list = []
    gate = nn.Parameter(torch.tensor(value, dtype=model.lm_head.weight.dtype))
    model.model.layers = nn.ModuleList(Gated(block, written, gate) for block in model.model.layers)
    model.model.register_forward_pre_hook(lambda *_: written.clear())
    return gate


def check(model: nn.Module, bar: float = 1e-5) -> None:
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    torch.testing.assert_close(logit_gradient_norms(model, IDS, POSITIONS), truth, rtol=bar, atol=0)


def test_a_path_beside_the_chain_counts_though_its_gate_was_zero_when_it_was_tried():
    model = LLAMA.model(torch.float64)
    gate = gated(model, 0.0)
    check(model)
    with torch.no_grad():
        gate.fill_(0.3)
    check(model)


def test_blocks_exchanged_between_calls_are_tried_anew():
    model = LLAMA.model(torch.float64)
    check(model)
    gated(model, 0.3)
    check(model)


def test_a_path_weaker_than_the_tolerance_of_the_trial_counts():
    model = LLAMA.model()
    gated(model, 0.004)
    check(model, 1e-3)


def test_a_hook_added_between_calls_is_tried_anew():
    model = LLAMA.model(torch.float64)
    check(model)
    for block in model.model.layers:
        block.mlp.register_forward_hook(lambda _module, _args, output: Doubled.apply(output))
    check(model)


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_blocks_that_cannot_be_run_again_out_of_turn_are_differentiated_whole(budget, monkeypatch):
    model = LLAMA.model(torch.float64)
    left: list = [1]
    model.model.layers = nn.ModuleList(Scaled(block, left) for block in model.model.layers)
    model.model.register_forward_pre_hook(lambda *_: left.__setitem__(slice(None), [1]))
    monkeypatch.setattr(exact_module, "MEMORY_BUDGET", budget)
    check(model)
