"""Certified norms: the bound holds for every gradient, and is within the tolerance asked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.spectra import certified_nuclear_norm
from spectra.gradients import SCALES, SPECTRA, factors

sizes = st.integers(1, 9) | st.integers(48, 120)
TOLERANCES = (1e-2, 1e-3, 1e-6)


def judge(delta, inputs, tolerance):
    """The bound against float64 singular values of the product as float64 forms it."""
    values, bounds = certified_nuclear_norm(delta[None], inputs, tolerance)
    product = delta.double().T @ inputs.double()
    truth = torch.linalg.svdvals(product).sum()
    rounding = 1e-14 * (delta.double().norm(dim=1) * inputs.double().norm(dim=1)).sum()
    assert (values[0] - truth).abs() <= bounds[0] + rounding
    assert bounds[0] <= tolerance * values[0] + 1e3 * rounding


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
    pairs = [factors(spectrum, 90, 70, 80, 1.0, 3) for spectrum in SPECTRA]
    delta, inputs = (torch.stack(each) for each in zip(*pairs, strict=True))
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
