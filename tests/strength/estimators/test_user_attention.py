"""An attention function that a user registered is never replaced by another."""

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from corrpo.errors import UnsupportedModelError
from corrpo.strength.gradient_norms import logit_gradient_norms
from problems import Problem

IDS, _, POSITIONS = Problem("llama", "Llama").sequence()


def sharp(module, query, key, value, mask, scaling, **others):
    return sdpa_attention_forward(module, query, key, value, mask, scaling=2 * scaling, **others)


@pytest.fixture
def model():
    AttentionInterface.register("sharp", sharp)
    AttentionMaskInterface.register("sharp", sdpa_mask)
    model = Problem("llama", "Llama").model(torch.float64)
    model.set_attn_implementation("sharp")
    return model


def test_exact_differentiates_it(model):
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    torch.testing.assert_close(logit_gradient_norms(model, IDS, POSITIONS), truth, rtol=1e-5, atol=0)


@pytest.mark.parametrize("estimator", ["last", "own"])
def test_the_others_refuse_it(model, estimator):
    with pytest.raises(UnsupportedModelError, match="'sharp'.*use 'exact' or 'reference'"):
        logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
