"""`batched_own`: rows of a padded batch, each as `own` and `token_entropy` give it alone."""

import pytest
import torch
from torch import nn

from corrpo.errors import NonFiniteError, UnsupportedModelError
from corrpo.strength.attention import calls as attention
from corrpo.strength.attention import own_position_backward
from corrpo.strength.entropy import token_entropy
from corrpo.strength.estimators.own_batched import batched_own, has_direct_head
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_attention_layers
from problems import PROBLEMS, VOCABULARY
from shared_models import shared_model

UNPADDED = [problem for problem in PROBLEMS if not problem.padding and "own" in problem.fits]
LENGTHS = (14, 9, 20)


def batch() -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], list[list[int]]]:
    """Padded ids and targets, and the same as separate sequences and positions."""
    generator = torch.Generator().manual_seed(3)
    sequences = [torch.randint(3, VOCABULARY, (length,), generator=generator) for length in LENGTHS]
    positions = [[p for p in range(4, length) if p % 5] for length in LENGTHS]
    ids = torch.full((len(LENGTHS), max(LENGTHS)), 2)
    targets = torch.zeros_like(ids, dtype=torch.bool)
    for row, (sequence, where) in enumerate(zip(sequences, positions, strict=True)):
        ids[row, : len(sequence)] = sequence
        targets[row, where] = True
    return ids, targets, sequences, positions


@pytest.mark.parametrize("problem", UNPADDED, ids=lambda problem: problem.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_row_is_what_it_is_alone(problem, dtype):
    model = shared_model(problem, dtype)
    ids, targets, sequences, positions = batch()
    layers = find_attention_layers(model)
    entropy, norms = batched_own(model, ids, targets, layers, PROJECTIONS, direct_head=has_direct_head(model))
    alone = [
        logit_gradient_norms(model, sequence, where, estimator="own")
        for sequence, where in zip(sequences, positions, strict=True)
    ]
    with torch.no_grad():
        entropies = [
            token_entropy(model(input_ids=sequence[None]).logits[0])[torch.tensor(where) - 1]
            for sequence, where in zip(sequences, positions, strict=True)
        ]
    double = 1e-5 if problem.float32_inside else 1e-9
    tolerance = double if dtype == torch.float64 else 2e-4
    torch.testing.assert_close(norms, torch.cat(alone).double(), rtol=tolerance, atol=tolerance)
    # eager attention takes its softmax in float32 even here, own-position attention in the model's dtype
    torch.testing.assert_close(entropy, torch.cat(entropies), rtol=2e-5, atol=2e-5)


def test_a_capped_or_wrapped_head_is_read_as_the_model_gives_it():
    direct = {problem.name: has_direct_head(shared_model(problem)) for problem in UNPADDED}
    assert direct["qwen2-gqa"]
    assert direct["llama-mha-tied"]
    assert not direct["gemma2-soft-capping"]


def test_the_direct_head_changes_nothing_but_the_time():
    model = shared_model(UNPADDED[0], torch.float64)
    ids, targets, *_ = batch()
    layers = find_attention_layers(model)
    head = model.get_output_embeddings()
    direct = batched_own(model, ids, targets, layers, ("q", "o"), direct_head=True)
    at_once = batched_own(model, ids, targets, layers, ("q", "o"), direct_head=False)
    for one, other in zip(direct, at_once, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert "forward" not in head.__dict__


@pytest.mark.parametrize("problem", UNPADDED, ids=lambda problem: problem.name)
@pytest.mark.parametrize("kept", [0, 1 << 22], ids=["weights made again", "weights kept"])
def test_blocks_of_rows_are_the_whole(problem, kept, monkeypatch):
    model = shared_model(problem, torch.float64)
    ids, targets, *_ = batch()
    layers = find_attention_layers(model)
    at_once = batched_own(model, ids, targets, layers, PROJECTIONS)
    monkeypatch.setattr(attention, "_LEAST_ROWS", 1)
    monkeypatch.setattr(own_position_backward, "_KEPT_ELEMENTS", kept)
    blocks = batched_own(model, ids, targets, layers, PROJECTIONS)
    for one, other in zip(blocks, at_once, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_padding_tokens_do_not_matter():
    model = shared_model(UNPADDED[0])
    ids, targets, *_ = batch()
    layers = find_attention_layers(model)
    other = ids.clone()
    for row, length in enumerate(LENGTHS):
        other[row, length:] = 17
    one, two = (batched_own(model, x, targets, layers, ("q", "o"))[1] for x in (ids, other))
    assert torch.equal(one, two)


def test_nan_weights_name_the_sequence():
    model = UNPADDED[0].model()
    with torch.no_grad():
        model.get_output_embeddings().weight[5] = torch.nan
    ids, targets, *_ = batch()
    with pytest.raises(NonFiniteError, match="sequence 0 is NaN"):
        batched_own(model, ids, targets, find_attention_layers(model), ("q",), direct_head=True)


def test_a_model_that_mixes_positions_otherwise_is_refused():
    model = UNPADDED[0].model()

    class Shift(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) + self.inner(x).roll(1, dims=1)

    model.model.layers[1].mlp = Shift(model.model.layers[1].mlp)
    ids, targets, *_ = batch()
    with pytest.raises(UnsupportedModelError, match="attention alone mixes positions"):
        batched_own(model, ids, targets, find_attention_layers(model), ("q", "o"))
