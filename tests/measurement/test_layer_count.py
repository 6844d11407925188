"""Layers are numbered among those with the measured projections: in hybrids, and without attention, too."""

import pytest

from corrpo import measure
from corrpo.measurement.comparison import measurement
from corrpo.measurement.measured_model import count_layers
from corrpo.report.layer_correlations import layer_table
from measurement.quick import QUICK, SAMPLES
from recurrent_problems import QWEN3_NEXT, RECURRENT
from report.fingerprints import make_fingerprint


def test_the_layers_of_a_model_that_hold_projections():
    models = {one.name: one.model() for one in RECURRENT if one.name in ("mamba2", "qwen3-next")}
    assert count_layers(models["mamba2"], ("in_proj", "out_proj")) == 3
    assert count_layers(models["qwen3-next"], ("q", "k", "v", "o")) == 1
    assert count_layers(models["qwen3-next"], QWEN3_NEXT) == 2


def test_a_fingerprint_tells_how_many_there_are(lab_model, lab_tokenizer):
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES, estimator="own", layers=(-1,), **QUICK)
    assert fingerprint.model["projection_layers"] == 4
    assert measurement(fingerprint)["layers"] == [3]
    assert [layer for layer, _ in layer_table(fingerprint).rows] == [3]


@pytest.mark.parametrize(
    ("asked", "attention_layers", "projection_layers", "compared", "rows"),
    [
        ([0, 5, -2, 11], 0, 12, [0, 5, 10, 11], [0, 5, 10, 11]),
        ([0, 5, -2, 11], 4, 12, [0, 5, 10, 11], [0, 5, 10, 11]),
        ([0, 1, 2, -1], 12, 4, "all", [0, 1, 2, 3]),
        ([0, 5, -2, 11], 4, None, [0, 5, -2, 11], [0, 5, -2, 11]),
        ([0, 5, -2, 11], 0, None, [0, 5, -2, 11], [0, 5, -2, 11]),
    ],
    ids=["no attention", "hybrid", "all", "hybrid of an older version", "older, no attention"],
)
def test_listed_layers_of_other_projections(asked, attention_layers, projection_layers, compared, rows):
    settings = {"layers": asked, "projections": ["in_proj", "out_proj"]}
    made = make_fingerprint(samples=5, length=12, layers=4, projections=2, settings=settings)
    made.model.update(attention_layers=attention_layers, projection_layers=projection_layers)
    assert measurement(made)["layers"] == compared
    assert [layer for layer, _ in layer_table(made).rows] == rows
