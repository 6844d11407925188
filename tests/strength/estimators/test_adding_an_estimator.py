"""An estimator of one's own, added as docs/how-to/add-an-estimator.md says: a module, a line of a table."""

import pytest
import torch

from corrpo.errors import UnsupportedModelError
from corrpo.report.explanations import estimator_label, estimator_note
from corrpo.strength.estimators import ESTIMATORS
from corrpo.strength.estimators.fit import fitting_estimators
from corrpo.strength.gradient_norms import SequenceOptions, logit_gradient_norms, passes_of
from corrpo.strength.projections.mixers import find_layers
from corrpo.strength.spec import GradientSpec
from problems import Problem

IDS, _, POSITIONS = Problem("llama", "Llama").sequence()


@pytest.fixture(autouse=True)
def added_estimator(monkeypatch, no_shape_checks):
    """The new estimator in the table. Annotations list the names of the package, so they are not checked."""
    monkeypatch.setitem(ESTIMATORS, "doubled", "strength.estimators.doubled_reference")
    for holder in (GradientSpec, SequenceOptions):
        monkeypatch.setattr(holder, "__init__", no_shape_checks(holder.__init__))


def test_it_measures_what_its_record_says_and_refuses_the_rest():
    model = Problem("llama", "Llama").model()
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference", projections=["q"])
    doubled = logit_gradient_norms(model, IDS, POSITIONS, estimator="doubled", projections=["q"])
    assert torch.equal(doubled, 2 * truth)
    with pytest.raises(UnsupportedModelError, match="'doubled' measures q alone; use .*'exact'.*'reference'"):
        logit_gradient_norms(model, IDS, POSITIONS, estimator="doubled")


def test_lists_costs_and_reports_know_it():
    model = Problem("llama", "Llama").model()
    assert "doubled" in fitting_estimators(model, find_layers(model, ["q"]), ["q"])
    (part,) = passes_of(model, [3, 8], 20, GradientSpec(estimator="doubled", projections=("q",)))
    assert (part.prefix, part.forwards, part.backwards) == (20, 1, 2)
    assert estimator_label({"estimator": "doubled"}) == "doubled"
    assert estimator_note({"estimator": "doubled"}) == "Estimator doubled: twice the norms of the reference."


@pytest.mark.parametrize(
    ("estimator", "backwards"), [("reference", 3), ("exact", 3), ("pruned", 3), ("last", 1), ("own", 1)]
)
def test_the_passes_of_every_estimator(estimator, backwards):
    model = Problem("llama", "Llama").model()
    parts = passes_of(model, [3, 8, 9], 20, GradientSpec(estimator=estimator))
    assert sum(part.backwards for part in parts) == backwards
    assert parts[0].prefix == (20 if estimator == "reference" else 9)
    assert passes_of(model, [], 20, GradientSpec(estimator=estimator)) == []
