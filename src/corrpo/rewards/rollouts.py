"""Rollouts measured: entropy and gradient strength of their tokens, and from these the rho of each rollout.

`own` reads many rollouts in one padded pass; the other estimators take one rollout at a time. Where strengths
of whole gradients follow from what `own` gives (`corrpo.rewards.strength_fit`), some tokens are judged first:

    fit.add(meter.judge(model, prompt_ids, completion_ids, fit, seed=seed))
    signals = meter(model, prompt_ids, completion_ids, fit=fit, seed=seed)
"""

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from corrpo.errors import NonFiniteError, UnsupportedModelError
from corrpo.models.eval_mode import eval_mode
from corrpo.models.turns import model_turn
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.rollout_correlation import rollout_correlation
from corrpo.rewards.strength_fit import StrengthFit, own_features
from corrpo.samples.token_sampling import stratified_positions
from corrpo.strength.derivatives.scores import logits_at
from corrpo.strength.entropy import token_entropy
from corrpo.strength.estimators import estimator_named
from corrpo.strength.estimators.own_batched import has_direct_head
from corrpo.strength.gradient_norms import layers_for, logit_gradient_norms
from corrpo.strength.projections.mixers import find_layers
from corrpo.strength.spec import GradientSpec

logger = logging.getLogger(__name__)

PASS_TOKENS = 2048
"""Tokens read in one pass, padding included: enough for large matrix products, few enough for caches."""
JUDGED_EVERY = 8
"""One in so many rollouts has tokens judged, one at least of a batch, and so many or more of the first."""
JUDGED_KEPT = 16
"""Positions that `pruned` keeps of a judged token: the regression gains little from more (METHOD 6)."""


@dataclass(frozen=True)
class RolloutSignals:
    """What was measured of each rollout, float64 [rollouts] each.

    Attributes:
        rho: correlation of entropy and strength over the rollout's tokens, NaN if it has none.
        tokens: how many tokens it was taken over.
        entropy_mean: bits.
        entropy_std: bits.
        strength_mean: mean norm over layers and projections, averaged over tokens.
        strength_std: its standard deviation over tokens.
    """

    rho: Tensor
    tokens: Tensor
    entropy_mean: Tensor
    entropy_std: Tensor
    strength_mean: Tensor
    strength_std: Tensor

    def stacked(self) -> Float[Tensor, "rollouts quantities"]:
        """All of them as columns, in the order of the attributes, for gathering over processes."""
        return torch.stack([getattr(self, quantity.name) for quantity in fields(self)], dim=1)

    @classmethod
    def unstacked(cls, columns: Float[Tensor, "rollouts quantities"]) -> "RolloutSignals":
        """The inverse of `stacked`."""
        return cls(*columns.unbind(1))


class RolloutMeter:
    """Measures the rollouts of one model as the settings say.

    Args:
        model: the model that will be trained, unwrapped, with all of its weights. It is tried on four tokens.
        settings: which correlation, of which gradients, over how many tokens.

    Raises:
        UnsupportedModelError: the estimator does not fit the model; names those that do.
        BadInputError: a layer that the model does not have, or that the estimator does not cover.
    """

    def __init__(self, model: nn.Module, settings: InversionSettings):
        self.settings = settings
        self.fits = settings.fit_tokens > 0
        gradient = settings.gradient
        layers = settings.measured_layers(len(find_layers(model, gradient.projections)))
        self._gradient = replace(gradient, layers=None if layers is None else tuple(layers))
        layers_for(model, gradient.estimator, layers, gradient.projections)
        self._batched = estimator_named(gradient.estimator).batched
        self._direct_head = self._batched is not None and has_direct_head(model)
        self._whole = self._whole_gradient(model) if self.fits else None
        self(model, [[0, 0]], [[0, 0]])

    def _whole_gradient(self, model: nn.Module) -> GradientSpec:
        """How tokens are judged: by `pruned`, and by `exact` where that does not fit the model."""
        spec = replace(self._gradient, estimator="pruned", kept=JUDGED_KEPT)
        try:
            logit_gradient_norms(model, torch.zeros(4, dtype=torch.long), [3], **vars(spec))
        except UnsupportedModelError as error:
            logger.warning("tokens are judged by 'exact', which takes longer: %s", error)
            return replace(spec, estimator="exact", kept=None)
        return spec

    def __call__(
        self,
        model: Any,
        prompt_ids: Sequence[Sequence[int]],
        completion_ids: Sequence[Sequence[int]],
        *,
        fit: StrengthFit | None = None,
        written: Sequence[Sequence[int]] | None = None,
        seed: int = 0,
        first: int = 0,
    ) -> RolloutSignals:
        """Measure rollouts.

        Args:
            model: with all of its weights on this device; left as it was.
            prompt_ids: token ids of each rollout's prompt.
            completion_ids: token ids of each rollout's completion.
            fit: from which strengths follow, where `fits`; tokens of these very rollouts are judged for one
                if it is not given.
            written: 1 for a completion token that the model wrote, 0 for one that a tool gave; all 1 if not
                given.
            seed: of the choice of tokens, where `inversion_max_tokens` leaves some out.
            first: number of the first rollout among those of all processes, so that the choice does not
                depend on how they are spread.

        Raises:
            NonFiniteError: NaN or infinite logits or gradients.
        """
        if self.fits and fit is None:
            fit = StrengthFit()
            how = {"written": written, "seed": seed, "first": first}
            fit.add(self.judge(model, prompt_ids, completion_ids, fit, **how))
        with model_turn(model):
            return self._measured(model, prompt_ids, completion_ids, fit, written, seed, first)

    def judge(
        self,
        model: Any,
        prompt_ids: Sequence[Sequence[int]],
        completion_ids: Sequence[Sequence[int]],
        fit: StrengthFit,
        *,
        written: Sequence[Sequence[int]] | None = None,
        seed: int = 0,
        first: int = 0,
        total: int | None = None,
    ) -> Float[Tensor, "tokens columns"]:
        """Tokens with the strengths of their whole gradients, for `StrengthFit.add` of all processes.

        `inversion_fit_tokens` tokens of one rollout in `JUDGED_EVERY`, of one at least, by a backward pass
        each; of `JUDGED_EVERY` rollouts or more where `fit` holds none yet. The arguments are those of a call
        of the meter, and `total` the rollouts of all processes, if there are several.

        Returns:
            float64 on the CPU; no row where nothing is fitted, or no rollout of this process is judged.

        Raises:
            NonFiniteError: NaN or infinite logits or gradients.
        """
        count = len(completion_ids) if self.fits else 0
        rows = _judged_rows(count, first, total or count, seed, begun=fit.judged is not None)
        by_model = written or [[1] * len(ids) for ids in completion_ids]
        judged = [torch.zeros(0, 0, dtype=torch.float64)]
        with model_turn(model):
            for row in rows:
                start, name = len(prompt_ids[row]), f"rollout {first + row}"
                places = self._chosen(start, by_model[row], seed, name, self.settings.fit_tokens)
                if places:
                    ids = torch.tensor([*prompt_ids[row], *completion_ids[row]])
                    judged.append(self._judged(model, ids, torch.tensor(places) + start, row))
        return torch.cat(judged[1:] or judged)

    def _judged(self, model: Any, ids: Tensor, positions: Tensor, row: int) -> Tensor:
        assert self._whole is not None
        try:
            own, whole = (
                logit_gradient_norms(model, ids, positions, **vars(spec)).double().cpu()
                for spec in (self._gradient, self._whole)
            )
        except NonFiniteError as error:
            raise _unmeasurable(row) from error
        strengths = whole.mean((1, 2))
        judged = torch.cat([own_features(own, positions), strengths.log()[:, None]], dim=1)
        return judged[strengths > 0]

    def _measured(
        self,
        model: Any,
        prompt_ids: Sequence[Sequence[int]],
        completion_ids: Sequence[Sequence[int]],
        fit: StrengthFit | None,
        written: Sequence[Sequence[int]] | None,
        seed: int,
        first: int,
    ) -> RolloutSignals:
        starts = [len(p) for p in prompt_ids]
        by_model = written or [[1] * len(ids) for ids in completion_ids]
        chosen = [
            self._chosen(start, flags, seed, f"rollout {first + row}", self.settings.inversion_max_tokens)
            for row, (start, flags) in enumerate(zip(starts, by_model, strict=True))
        ]
        width = max(map(len, completion_ids), default=0)
        device = next(model.parameters()).device
        mask = torch.zeros(len(chosen), width, dtype=torch.bool)
        for row, places in enumerate(chosen):
            mask[row, places] = True
        entropy, strength = torch.zeros(2, *mask.shape, dtype=torch.float64, device=device)
        mask = mask.to(device)
        sequences = [[*p, *c] for p, c in zip(prompt_ids, completion_ids, strict=True)]
        if self._batched is None:
            self._read_one_by_one(model, sequences, starts, mask, entropy, strength)
        else:
            self._read_batches(model, sequences, starts, mask, entropy, strength, fit)
        return self._summary(entropy, strength, mask)

    def _chosen(
        self, start: int, written: Sequence[int], seed: int, name: str, count: int | None
    ) -> list[int]:
        """`count` completion tokens, or all; the first token of all is predicted by nothing."""
        places = [i for i, by_model in enumerate(written) if by_model and start + i]
        kept = stratified_positions(len(places), count, seed, name)
        return [places[i] for i in kept]

    def _read_batches(
        self,
        model: nn.Module,
        sequences: list[list[int]],
        starts: list[int],
        mask: Tensor,
        entropy: Tensor,
        strength: Tensor,
        fit: StrengthFit | None,
    ) -> None:
        """Fill entropy and strength [rollouts, width], rollouts of like length in one pass."""
        assert self._batched is not None
        projections = self._gradient.projections
        layers = layers_for(model, self._gradient.estimator, self._gradient.layers, projections)
        for rows in _passes([len(sequence) for sequence in sequences], mask.any(1).tolist()):
            ids = torch.zeros(len(rows), len(sequences[rows[-1]]), dtype=torch.long)
            targets = torch.zeros(ids.shape, dtype=torch.bool, device=mask.device)
            for i, row in enumerate(rows):
                start, end = starts[row], len(sequences[row])
                ids[i, :end] = torch.tensor(sequences[row])
                targets[i, start:end] = mask[row, : end - start]
            try:
                bits, norms = self._batched(
                    model,
                    ids.to(mask.device),
                    targets,
                    layers,
                    projections,
                    direct_head=self._direct_head,
                )
            except NonFiniteError as error:
                raise _unmeasurable(rows[error.row or 0]) from error
            picked = mask[rows]
            entropy[rows] = entropy[rows].masked_scatter(picked, bits.double())
            strengths = norms.mean((1, 2))
            if fit is not None and self.fits:
                strengths = fit.strengths(own_features(norms, targets.nonzero()[:, 1]))
            strength[rows] = strength[rows].masked_scatter(picked, strengths)

    def _read_one_by_one(
        self,
        model: Any,
        sequences: list[list[int]],
        starts: list[int],
        mask: Tensor,
        entropy: Tensor,
        strength: Tensor,
    ) -> None:
        """Fill entropy and strength [rollouts, width], one rollout at a time, by any estimator."""
        for row, (sequence, start) in enumerate(zip(sequences, starts, strict=True)):
            places = mask[row].nonzero()[:, 0]
            if not len(places):
                continue
            ids = torch.tensor(sequence, device=mask.device)
            with torch.no_grad(), eval_mode(model):
                logits = logits_at(model, ids, start + places - 1)
            try:
                norms = logit_gradient_norms(model, ids, places + start, **vars(self._gradient))
            except NonFiniteError as error:
                raise _unmeasurable(row) from error
            entropy[row, places] = token_entropy(logits).double()
            strength[row, places] = norms.double().mean((1, 2))

    def _summary(
        self,
        entropy: Float[Tensor, "rollouts width"],
        strength: Float[Tensor, "rollouts width"],
        mask: Bool[Tensor, "rollouts width"],
    ) -> RolloutSignals:
        rho = rollout_correlation(
            entropy,
            strength,
            mask,
            self.settings.inversion_statistic,
            min_tokens=self.settings.inversion_min_tokens,
        )
        count = mask.sum(1).double()

        def moments(values: Tensor) -> tuple[Tensor, Tensor]:
            mean = values.sum(1) / count
            squares = torch.where(mask, (values - mean[:, None]) ** 2, 0.0).sum(1)
            return mean, (squares / count).sqrt()

        return RolloutSignals(rho, count, *moments(entropy), *moments(strength))


def _judged_rows(count: int, first: int, total: int, seed: int, *, begun: bool) -> list[int]:
    """Which of `count` rollouts are judged, the first being number `first` of the `total` of all processes.

    >>> [_judged_rows(4, 0, 4, seed, begun=True) for seed in range(4)]
    [[3], [1], [0], [1]]
    """
    every = max(1, min(total, JUDGED_EVERY) if begun else total // JUDGED_EVERY)
    at = random.Random(seed).randrange(every)
    return [row for row in range(count) if (first + row) % every == at]


def _unmeasurable(row: int) -> NonFiniteError:
    return NonFiniteError(
        f"rollout {row} of this process's batch gives NaN or infinite logits or gradients, so the policy has "
        "diverged or its dtype is too narrow: go on from an earlier checkpoint with a lower learning rate or "
        "a wider dtype"
    )


def _passes(lengths: Sequence[int], measured: Sequence[bool]) -> Iterator[list[int]]:
    """Rows to read together, shortest first: as many as fit `PASS_TOKENS` with their padding, at least one.

    >>> list(_passes([900, 300, 1500, 40], [True, True, True, False]))
    [[1, 0], [2]]
    """
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not measured[row]:
            continue
        if rows and (len(rows) + 1) * lengths[row] > PASS_TOKENS:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
