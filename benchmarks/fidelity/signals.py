"""The signals that are compared with `exact`: how each is asked for, and what it gives of every token.

A signal is measured once per rollout, for all of its tokens, and split into variants by averaging over fewer
projections or layers, which costs nothing more.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from corrpo.strength.entropy import squared_logits_gradient, token_entropy
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections import PROJECTIONS

ALL, QUERY_OUTPUT_UPPER, FITTED = "all", "q o, upper half", "fitted"
NORMS = "norms"


@dataclass(frozen=True)
class Signal:
    """One way to find strengths.

    Attributes:
        name: of its files.
        arguments: of `logit_gradient_norms`.
        variants: which averages over projections and layers are kept.
        groups: measured in the first groups of rollouts alone, where that is enough; all if None.
        keeps_norms: whether the norms behind the strengths are kept, under `NORMS`, for fits on them.
    """

    name: str
    arguments: dict[str, Any]
    variants: tuple[str, ...] = (ALL,)
    groups: int | None = None
    keeps_norms: bool = False


SIGNALS = (
    Signal("exact", {"estimator": "exact"}, (ALL, QUERY_OUTPUT_UPPER)),
    Signal("own", {"estimator": "own"}, (ALL, QUERY_OUTPUT_UPPER), keeps_norms=True),
    Signal("last", {"estimator": "last"}),
    Signal("pruned-8", {"estimator": "pruned", "kept": 8}),
    Signal("pruned-16", {"estimator": "pruned", "kept": 16}, groups=6),
    Signal("pruned-32", {"estimator": "pruned", "kept": 32}, groups=6),
    Signal("frobenius", {"estimator": "exact", "norm": "frobenius"}, groups=2),
)


def strengths(model: Any, ids: Tensor, positions: range | Tensor, signal: Signal) -> dict[str, list[Any]]:
    """Each variant's strength of every target, its CPU seconds under "seconds" (the same for all).

    Args:
        model: on its device.
        ids: LongTensor [T].
        positions: of the targets, n of them.
        signal: what is measured.

    Returns:
        lists of n numbers, lists of numbers for norms.
    """
    start = time.process_time()
    norms = logit_gradient_norms(model, ids, positions, **signal.arguments).double().cpu()
    seconds = time.process_time() - start
    averages = {variant: averaged(norms, variant).tolist() for variant in signal.variants}
    kept = {NORMS: norms.flatten(1).tolist()} if signal.keeps_norms else {}
    return averages | kept | {"seconds": [seconds / len(norms)] * len(norms)}


def averaged(norms: Tensor, variant: str) -> Tensor:
    """Norms [n, layers, projections] as strengths [n]."""
    if variant == ALL:
        return norms.mean((1, 2))
    kept = [PROJECTIONS.index(kind) for kind in "qo"]
    return norms[:, norms.shape[1] // 2 :, kept].mean((1, 2))


@torch.no_grad()
def logits_signals(model: Any, ids: Tensor, positions: range) -> dict[str, list[float]]:
    """Entropy in bits and the squared gradient at the logits of each target, from one forward pass."""
    places = torch.tensor(positions, device=ids.device) - 1
    logits = model(input_ids=ids[None], use_cache=False, logits_to_keep=places).logits[0]
    written = ids[torch.tensor(positions, device=ids.device)]
    return {
        "entropy": token_entropy(logits).double().tolist(),
        "logits": squared_logits_gradient(logits, written).double().tolist(),
    }
