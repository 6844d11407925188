"""The tolerance, from the function in front of the estimators down to the norms."""

from dataclasses import replace

import pytest

from corrpo import logit_gradient_norms
from corrpo.errors import BadInputError
from corrpo.measurement.options import MeasureOptions
from corrpo.strength.norms import certified
from problems import PROBLEMS


@pytest.mark.parametrize("estimator", ["exact", "last"])
def test_estimators_keep_within_the_tolerance(monkeypatch, estimator):
    monkeypatch.setattr(certified, "SMALLEST_SIDE", 8)
    monkeypatch.setattr(certified, "FIRST_RANK", 2)
    problem = PROBLEMS[0]
    model, (ids, mask, positions) = problem.model(), problem.sequence()
    truth = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator=estimator)
    result = logit_gradient_norms(
        model, ids, positions, attention_mask=mask, estimator=estimator, tolerance=0.2
    )
    assert ((result - truth).abs() <= 0.2 * result).all()
    assert (result != truth).any()


def test_a_tolerance_is_a_setting_of_a_measurement():
    assert MeasureOptions().as_dict()["tolerance"] is None
    options = MeasureOptions(tolerance=0.01)
    assert options.as_dict()["tolerance"] == 0.01
    with pytest.raises(BadInputError, match="tolerance=0.01 with norm 'l1'"):
        replace(options, norm="l1")
    with pytest.raises(BadInputError, match="between 0 and 1"):
        MeasureOptions(tolerance=1.5)


def test_a_tolerance_of_another_norm_is_refused():
    model, (ids, _, positions) = PROBLEMS[0].model(), PROBLEMS[0].sequence()
    with pytest.raises(BadInputError, match="only a nuclear norm takes a tolerance"):
        logit_gradient_norms(model, ids, positions, norm="spectral", tolerance=0.1)
