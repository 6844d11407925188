"""Entropy and gradient strength of each token: while it is written, or of a finished text in one pass.

Both give the own-position part of the gradient, the approximation of METHOD 5 (`own`):

- A decoding step reads one token against cached keys and values, which are constants. So one backward of the
  written token's logit through that step alone is the own-position derivative: no attention is replaced, the
  graph is one token long, and it is gone before the next step.
- A finished text (of vLLM, or of any log) takes one forward and one backward over all its tokens:
  `corrpo.strength.estimators.own_batched.batched_own`.

They agree up to rounding; a test holds them to it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.models.generation.sampling import check_sampling
from corrpo.models.token_limits import vocabulary_size
from corrpo.statistics.coefficients import Array
from corrpo.strength.derivatives.model_state import frozen_eval_mode
from corrpo.strength.derivatives.observation import derivatives_at, observed
from corrpo.strength.entropy import token_entropy
from corrpo.strength.estimators.own_batched import batched_own, has_direct_head
from corrpo.strength.gradient_norms import layers_for


@dataclass(frozen=True)
class Step:
    """One written token: its id, entropy of its distribution (bits) and gradient strength."""

    token: int
    entropy: float
    strength: float


class Meter:
    """Measures the tokens of one model, whose mode, gradients and hooks are left as they are.

    Args:
        model: a causal LM of transformers, whole on its device.
        projections: names of the projections measured.
        layers: the layers measured, negative from the end; all for None.

    Raises:
        UnsupportedModelError: `own` does not fit the model: something besides attention mixes positions.
        BadInputError: a layer or projection that the model does not have.
    """

    def __init__(self, model: Any, projections: Sequence[str], layers: Sequence[int] | None = None):
        self.model = model
        self.projections = tuple(projections)
        self.layers = layers_for(model, "own", layers, self.projections)
        self.vocabulary = vocabulary_size(model)
        self.direct_head = has_direct_head(model)
        self.device = next(model.parameters()).device
        self.score([0, 0, 0], [0])  # three positions of four predict nothing: shows what mixes them

    def score(self, prompt: Sequence[int], response: Sequence[int]) -> tuple[Array, Array]:
        """Entropies (bits) and strengths of the tokens of a finished response, a float64 each."""
        self._check(prompt, response)
        ids = torch.tensor([[*prompt, *response]], device=self.device)
        targets = torch.zeros(ids.shape, dtype=torch.bool, device=self.device)
        targets[:, len(prompt) :] = True
        entropy, norms = batched_own(
            self.model, ids, targets, self.layers, self.projections, direct_head=self.direct_head
        )
        return entropy.double().cpu().numpy(), norms.mean((1, 2)).cpu().numpy()

    def decode(
        self,
        prompt: Sequence[int],
        *,
        max_new_tokens: int,
        ends: Sequence[int] = (),
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[Step]:
        """Write a response and measure each token as it is written, the one that ends it included.

        The global random state is not used. Between two tokens the model may be used otherwise. Entropy is at
        temperature 1, whatever the temperature of what is drawn.
        """
        check_sampling(temperature, top_p, max_new_tokens)
        self._check(prompt, [0])
        random = torch.Generator().manual_seed(seed)
        cache = DynamicCache(config=self.model.config.get_text_config())
        if len(prompt) > 1:
            with frozen_eval_mode(self.model), torch.no_grad():
                read = torch.tensor([prompt[:-1]], device=self.device)
                self.model(input_ids=read, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = prompt[-1]
        for _ in range(max_new_tokens):
            step = self._step(token, cache, temperature, top_p, random)
            yield step
            token = step.token
            if token in ends:
                return

    def _step(
        self, token: int, cache: DynamicCache, temperature: float, top_p: float, random: torch.Generator
    ) -> Step:
        """Read `token`, draw the next one, and differentiate its logit through this step."""
        ids = torch.tensor([[token]], device=self.device)
        with (
            frozen_eval_mode(self.model),
            observed(self.layers, self.projections) as record,
            _head_apart(self.model, self.direct_head) as hidden,
        ):
            logits = self.model(input_ids=ids, past_key_values=cache, use_cache=True).logits[0, -1]
            entropy = float(token_entropy(logits.detach()[None])[0])
            if not math.isfinite(entropy):
                raise _non_finite("logits")
            drawn = draw(logits.detach(), temperature, top_p, random)
            if hidden:
                weight = self.model.get_output_embeddings().weight[drawn].detach()
                seeds, scores = weight.to(hidden[0]).expand_as(hidden[0]), hidden[0]
            else:
                seeds, scores = None, logits[drawn]
            deltas = derivatives_at(record, scores, seeds)
        _forget_graph(cache)
        norms = [_length(delta) * _length(at.inputs) for at, delta in zip(record, deltas, strict=True)]
        strength = float(torch.stack([norm.cpu() for norm in norms]).mean())
        if not math.isfinite(strength):
            raise _non_finite("gradients")
        return Step(drawn, entropy, strength)

    def _check(self, prompt: Sequence[int], response: Sequence[int]) -> None:
        if not prompt or not response:
            what = "response" if prompt else "prompt"
            raise BadInputError(f"the {what} has no token; expected at least one")
        outside = [token for token in (*prompt, *response) if not 0 <= token < self.vocabulary]
        if outside:
            raise BadInputError(
                f"token id {outside[0]} is not one of the model's {self.vocabulary:,}; use its own tokenizer"
            )


def draw(logits: Tensor, temperature: float, top_p: float, random: torch.Generator) -> int:
    """A token drawn from logits [vocab], on the CPU, so that a seed means the same on every device.

    >>> draw(torch.tensor([0.0, 5.0, 1.0]), 0.0, 1.0, torch.Generator())
    1
    """
    if temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.double().cpu() / temperature, dim=-1)
    if top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        left_out = ordered.cumsum(0) - ordered >= top_p
        probabilities = probabilities.index_fill(0, order[left_out], 0.0)
    return int(torch.multinomial(probabilities, 1, generator=random))


@contextmanager
def _head_apart(model: Any, direct: bool) -> Iterator[list[Tensor]]:
    """Run a direct head without a graph; the list gets its input, whose derivative is a row of its weight.

    The list stays empty where the head is not direct. It is the largest matrix of many models, and the
    backward would read all of it.
    """
    hidden: list[Tensor] = []
    if not direct:
        yield hidden
        return
    head = model.get_output_embeddings()

    def forward(given: Tensor) -> Tensor:
        hidden.append(given)
        with torch.no_grad():
            return nn.Linear.forward(head, given)

    head.forward = forward
    try:
        yield hidden
    finally:
        del head.forward


def _forget_graph(cache: DynamicCache) -> None:
    """Cut the cached keys and values from the step that made them."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys.detach(), layer.values.detach()  # pyright: ignore


def _length(vectors: Tensor) -> Tensor:
    """Norm of the last vector of [1, T, d], float64: T is 1, or all where cached latents are expanded."""
    wide = torch.promote_types(vectors.dtype, torch.float32)
    return torch.linalg.vector_norm(vectors[0, -1].detach(), dtype=wide).double()


def _non_finite(what: str) -> NonFiniteError:
    return NonFiniteError(
        f"the model gives NaN or infinite {what} while it writes; check the weights, and try a wider dtype "
        "(float32)"
    )
