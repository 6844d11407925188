"""Certified norms: the bound holds for every gradient, and is within the tolerance asked for."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.lab import FAMILIES, KINDS, checkpoint, sample_set
from corrpo.strength.derivatives.differentiation_plan import plan_for
from corrpo.strength.derivatives.model_state import frozen_eval_mode
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.estimators import exact
from corrpo.strength.norms import certified
from corrpo.strength.norms.certified import certified_nuclear_norm
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_layers
from corrpo.strength.spec import GradientSpec
from strength.norms.gradients import SCALES, SPECTRA, factors

sizes = st.integers(1, 9) | st.integers(160, 220)
TOLERANCES = (1e-2, 1e-3, 1e-6)


def judge(delta, inputs, tolerance):
    """The bound against float64 singular values of the product as float64 forms it."""
    values, bounds = certified_nuclear_norm(delta[None], inputs, tolerance)
    product = delta.double().T @ inputs.double()
    truth = torch.linalg.svdvals(product).sum()
    rounding = 1e-14 * (delta.double().norm(dim=1) * inputs.double().norm(dim=1)).sum()
    assert (values[0] - truth).abs() <= bounds[0] + rounding
    assert bounds[0] <= tolerance * values[0] + 1e3 * rounding


@pytest.mark.slow
@given(
    t=sizes,
    d_out=sizes,
    d_in=sizes,
    spectrum=st.sampled_from(SPECTRA),
    scale=st.sampled_from(SCALES),
    tolerance=st.sampled_from(TOLERANCES),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=300, deadline=None)
def test_the_bound_holds_and_is_within_the_tolerance(t, d_out, d_in, spectrum, scale, tolerance, seed, dtype):
    delta, inputs = factors(spectrum, t, d_out, d_in, scale, seed)
    judge(delta.to(dtype), inputs.to(dtype), tolerance)


def test_a_batch_gives_what_each_gradient_gives_alone():
    pairs = [factors(spectrum, 190, 170, 180, 1.0, 3) for spectrum in SPECTRA]
    delta, inputs = (torch.stack(part) for part in zip(*pairs, strict=True))
    values, bounds = certified_nuclear_norm(delta, inputs, 1e-2)
    again, _ = certified_nuclear_norm(delta, inputs, 1e-2)
    assert torch.equal(values, again)
    for i in range(len(pairs)):
        value, bound = certified_nuclear_norm(delta[i : i + 1], inputs[i], 1e-2)
        assert (value - values[i]).abs() <= bound + bounds[i]


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -0.1, float("nan")])
def test_a_tolerance_out_of_range_is_refused(tolerance):
    with pytest.raises(BadInputError, match="expected a relative error between 0 and 1"):
        certified_nuclear_norm(torch.ones(1, 1, 1), torch.ones(1, 1), tolerance)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        certified_nuclear_norm(torch.full((1, 1, 1), torch.nan), torch.ones(1, 1), 0.1)


def drawn(seed):
    """A gradient of random shape, spectrum, scale and dtype, and a tolerance."""
    generator = torch.Generator().manual_seed(seed)

    def pick(choices):
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    low, high = pick([(1, 40), (100, 160), (160, 260)])
    shape = torch.randint(low, high, (3,), generator=generator).tolist()
    delta, inputs = factors(pick(SPECTRA), *shape, pick(SCALES), seed)
    dtype = pick([torch.float32, torch.float64])
    return delta.to(dtype), inputs.to(dtype), pick([1e-1, 1e-2, 1e-3, 1e-4, 1e-6])


@pytest.mark.nightly
def test_ten_thousand_random_gradients():
    for seed in range(10_000):
        judge(*drawn(seed))


@pytest.mark.nightly
def test_a_thousand_gradients_of_trained_models(monkeypatch):
    """Deltas and inputs of `exact` in the lab's models, under four tolerances, low ranks tried for all."""
    monkeypatch.setattr(certified, "SMALLEST_SIDE", 16)
    seen = 0
    for family in FAMILIES:
        for kind in KINDS:
            for delta, inputs in lab_gradients(family, kind):
                seen += 1
                for tolerance in (1e-1, 1e-2, 1e-3, 1e-6):
                    judge(delta, inputs, tolerance)
    assert seen >= 1_000


def lab_gradients(family, kind):
    """Factors of the gradients of a few tokens of one sample, for every layer and projection."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint(family, kind)).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(family, kind))
    lines = [json.loads(line) for line in sample_set("reasoning").read_text().splitlines()]
    text = " ".join(line["prompt"][0]["content"] for line in lines)
    ids = torch.tensor(tokenizer(text).input_ids)[:200]
    positions = torch.linspace(12, len(ids) - 1, 12).long()
    layers = find_layers(model, PROJECTIONS)
    query = GradientRequest(model, ids[None], positions, layers, GradientSpec())
    plan = plan_for(query)
    with frozen_eval_mode(model), plan.attention(model):
        for part in exact.passes(query):
            ends = positions[part.targets]
            for layer in plan.products(query, ends, part.prefix, part.keeps_graph):
                for at, delta in zip(layer.record, layer.deltas, strict=True):
                    for i, end in enumerate(ends.tolist()):
                        yield delta[i, 0, :end], at.inputs[0, :end].detach()
