"""The token rows of one response: entropy, log-probability, logit and gradient strength of each token."""

from typing import Any

import polars as pl
import torch
from torch import Tensor

from corrpo.errors import NonFiniteError
from corrpo.measurement.fingerprint_format import TOKEN_COLUMNS, schema
from corrpo.measurement.options import MeasureOptions
from corrpo.models.keywords import narrow
from corrpo.models.memory import in_memory
from corrpo.models.turns import process_turn
from corrpo.samples import token_texts
from corrpo.samples.token_sampling import stratified_positions
from corrpo.strength.derivatives.scores import logits_at
from corrpo.strength.entropy import squared_logits_gradient, token_entropy, token_logprob
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.spec import GradientSpec

_LESS_MEMORY = (
    "what was measured before is kept. Use fewer layers, shorter responses, or another estimator, of which "
    "'last' takes the least"
)


def measure_response(
    model: Any,
    tokenizer: Any,
    prompt_ids: list[int],
    response_ids: list[int],
    sample: str,
    settings: MeasureOptions,
) -> pl.DataFrame:
    """The rows of one response, in the columns of `Fingerprint.tokens`.

    Raises:
        NonFiniteError: names the sample.
    """
    ids = torch.tensor(prompt_ids + response_ids, device=next(model.parameters()).device)
    n = len(response_ids)
    written = ids[len(prompt_ids) :]
    with process_turn, torch.no_grad():  # another thread may hold a config that models share
        logits = logits_at(model, ids, torch.arange(len(ids) - n, len(ids)) - 1)
    entropy = _finite_entropy(logits, sample)
    target = logits.gather(-1, written[:, None])
    chosen = stratified_positions(n, settings.max_tokens, settings.seed, sample)
    norms = _gradient_norms(model, ids, torch.from_numpy(chosen) + len(prompt_ids), sample, settings)
    by_token: list[list[list[float]] | None] = [None] * n
    strength: list[float | None] = [None] * n
    for place, token_norms in zip(chosen.tolist(), norms.double().cpu(), strict=True):
        by_token[place] = token_norms.tolist()
        strength[place] = token_norms.mean().item()
    return pl.DataFrame(
        {
            "sample": [sample] * n,
            "position": list(range(n)),
            "token_id": response_ids,
            "token": token_texts(tokenizer, response_ids),
            "entropy_bits": entropy.double().tolist(),
            "logprob": token_logprob(logits, written).double().tolist(),
            "target_logit": target[:, 0].double().tolist(),
            "rank": ((logits > target).sum(-1) + 1).tolist(),
            "logits_gradient": squared_logits_gradient(logits, written).double().tolist(),
            "strength": strength,
            "norms": by_token,
        },
        schema=schema(TOKEN_COLUMNS),
    )


def _finite_entropy(logits: Tensor, sample: str) -> Tensor:
    """Token entropy of logits [n, vocabulary]: [n], bits."""
    entropy = token_entropy(logits)
    if not torch.isfinite(entropy).all():
        first = int((~torch.isfinite(entropy)).nonzero()[0])
        raise NonFiniteError(
            f"sample {sample!r}: the logits of response token {first} are NaN or infinite; what was measured "
            "before is kept. Check the weights, try a wider dtype (float32), or leave the sample out"
        )
    return entropy


def _gradient_norms(
    model: Any, ids: Tensor, positions: Tensor, sample: str, settings: MeasureOptions
) -> Tensor:
    """`logit_gradient_norms` by the settings of a measurement; its errors name the sample."""
    try:
        with in_memory(f"sample {sample!r} of {len(ids)} tokens, by {settings.estimator!r}", _LESS_MEMORY):
            return logit_gradient_norms(model, ids, positions, **vars(narrow(settings, GradientSpec)))
    except NonFiniteError as error:
        raise NonFiniteError(f"sample {sample!r}: {error}") from error
