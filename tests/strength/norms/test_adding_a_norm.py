"""A norm of one's own, added as docs/how-to/add-a-norm.md says: one module, one line of the table."""

import pytest
import torch

from corrpo.errors import BadInputError
from corrpo.measurement.options import MeasureOptions
from corrpo.strength.gradient_norms import SequenceOptions, logit_gradient_norms
from corrpo.strength.norms import NORMS, norm_named
from corrpo.strength.norms.factored import matrix_norm, product_norm, rank_one_norm
from corrpo.strength.spec import GradientSpec
from problems import Problem

NAME = "schatten_half"
IDS, _, POSITIONS = Problem("llama", "Llama").sequence()


@pytest.fixture
def added_norm(monkeypatch, no_shape_checks):
    """The new norm in the table. Annotations list the names of the package, so they are not checked."""
    monkeypatch.setitem(NORMS, NAME, "strength.norms.half_norm")
    for holder in (GradientSpec, SequenceOptions, MeasureOptions):
        monkeypatch.setattr(holder, "__init__", no_shape_checks(holder.__init__))
    return norm_named(NAME)


def test_every_form_of_it_is_the_norm_of_the_matrix(added_norm):
    delta, inputs = torch.randn(3, 6, 5).double(), torch.randn(6, 7).double()
    of_matrices = torch.stack([matrix_norm(d.T @ inputs, NAME) for d in delta])
    torch.testing.assert_close(product_norm(delta, inputs, NAME), of_matrices, rtol=1e-5, atol=0)
    of_outer_products = torch.stack([matrix_norm(torch.outer(d, inputs[0]), NAME) for d in delta[:, 0]])
    rank_one = rank_one_norm(delta[:, 0], inputs[:1].expand(3, -1), NAME)
    torch.testing.assert_close(rank_one, of_outer_products, rtol=1e-5, atol=0)


@pytest.mark.parametrize("estimator", ["exact", "last"])
def test_estimators_measure_it_as_the_reference_does(added_norm, estimator):
    model = Problem("llama", "Llama").model(torch.float64)
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference", norm=NAME)
    norms = logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator, norm=NAME)
    # roots of singular values near 0 keep half of their digits
    torch.testing.assert_close(norms, truth[:, -norms.shape[1] :], rtol=1e-2, atol=0)
    assert (norms > logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator) * (1 - 1e-9)).all()


def test_a_measurement_takes_it_and_names_it_in_errors(added_norm):
    assert MeasureOptions(norm=NAME).as_dict()["norm"] == NAME
    with pytest.raises(BadInputError, match=f"'trace' is unknown; expected one of .*l1, {NAME}"):
        GradientSpec(norm="trace")
    with pytest.raises(BadInputError, match=f"norm '{NAME}': only a nuclear norm takes a tolerance"):
        GradientSpec(norm=NAME, tolerance=0.1)
