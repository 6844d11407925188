"""Models that read a token differently for what comes after it."""

import pytest
import torch

from corrpo.errors import UnsupportedModelError
from corrpo.strength.gradient_norms import logit_gradient_norms
from problems import Problem

IDS, _, POSITIONS = Problem("llama", "Llama").sequence()
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 12,
}


@pytest.mark.parametrize(
    "problem",
    [
        Problem("dynamic", "Llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 12}),
        Problem("longrope", "Phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 12}),
    ],
    ids=lambda problem: problem.name,
)
def test_a_rotary_embedding_that_depends_on_the_length_is_that_of_the_whole_sequence(problem, monkeypatch):
    from corrpo.strength.estimators import exact

    monkeypatch.setattr(exact, "MEMORY_BUDGET", 1)  # a pass for each target
    model = problem.model(torch.float64)
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    result = logit_gradient_norms(model, IDS, POSITIONS)
    torch.testing.assert_close(result, truth, rtol=1e-5, atol=1e-12)
    last = logit_gradient_norms(model, IDS, POSITIONS, estimator="last")
    torch.testing.assert_close(last, truth[:, -1:], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("estimator", ["exact", "last", "own"])
def test_attention_that_sees_ahead_is_refused(estimator):
    model = Problem("both ways", "Gemma3", {"use_bidirectional_attention": True}).model()
    with pytest.raises(UnsupportedModelError, match="see those after them; use 'reference'"):
        logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
