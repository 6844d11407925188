"""How estimators that are not `exact` were found to rank as it does: fidelity.json, in words.

The file is written by `benchmarks/fidelity/table.py --write` from measurements on pretrained models and on
the lab; docs/METHOD.md, section 3, shows it with intervals. No torch is needed, so that --help can tell it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corrpo.strength.projections import PROJECTIONS

ROWS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("fidelity.json").read_text(encoding="utf-8"))
"""A row for each model and signal: an estimator (null for baselines), its settings, and [value, low, high]
of its agreement with `exact`: `tokens` (Spearman over tokens), `shift` (of rho), `rollouts`, `within_groups`
(Spearman of the rhos of rollouts)."""

MEASURED = ("pruned", "last", "own")
"""The estimators that measure less than `exact`, or something else."""

_WHAT = (
    "Against exact on responses of the models themselves at some 100 tokens, nuclear norms of all layers "
    "and projections (Spearman over tokens; shift of rho; Spearman of the rhos of rollouts less the mean of "
    "their prompt)"
)
_FITTED = "fitted"
"""The way of `own` that training alone has."""


def agreement(estimator: str, settings: Mapping[str, Any]) -> str:
    """What a reader of an estimator's numbers is told: of the way in which it was used, or else of all ways.

    Args:
        estimator: its name.
        settings: as in `fingerprint.json`; what it does not hold is taken as the default.

    Returns:
        A sentence; empty for an estimator that equals `exact`.

    >>> agreement("pruned", {"kept": 16}).partition("): ")[2][:43]
    '16 kept: 0.98; -0.01; 0.98 on Gemma 3 270M,'
    """
    if estimator not in MEASURED:
        return ""
    ways = _ways(estimator, training=False)
    used = f"{settings.get('kept')} kept" if estimator == "pruned" else "all"
    if used in ways and _as_measured(settings):
        return f"{_WHAT}: {_sentence(used, ways[used])}."
    others = ". ".join(_sentence(way, rows) for way, rows in ways.items())
    return f"{_WHAT}: {others}. Other settings were not measured."


def _as_measured(settings: Mapping[str, Any]) -> bool:
    """Whether settings are nuclear norms of the logit's gradient, of all layers and projections."""
    return (
        settings.get("norm", "nuclear") == "nuclear"
        and settings.get("target", "logit") == "logit"
        and settings.get("layers") is None
        and set(settings.get("projections") or PROJECTIONS) == set(PROJECTIONS)
    )


def _ways(estimator: str, *, training: bool) -> dict[str, list[dict[str, Any]]]:
    """The rows of each way in which an estimator was used on pretrained models, fewest positions first."""
    ways: dict[str, list[dict[str, Any]]] = {}
    for row in ROWS:
        if row["estimator"] == estimator and row["pretrained"] and (training or row["settings"] != _FITTED):
            ways.setdefault(row["settings"], []).append(row)
    return dict(sorted(ways.items(), key=lambda item: (len(item[0]), item[0])))


def _sentence(way: str, rows: list[dict[str, Any]]) -> str:
    return f"{way}: {', '.join(map(_numbers, rows))}"


def _numbers(row: dict[str, Any]) -> str:
    tokens, shift, within = (row[name][0] for name in ("tokens", "shift", "within_groups"))
    return f"{tokens:.2f}; {shift:+.2f}; {within:.2f} on {row['model']}"


def told(*, training: bool = False) -> str:
    """All of them in one paragraph, that of training with the regression that it can use.

    >>> told()[:30]
    'Against exact on responses of '
    """
    ways = [
        f"{name}, {_sentence(way, rows)}"
        for name in MEASURED
        for way, rows in _ways(name, training=training).items()
    ]
    return f"{_WHAT}: {'. '.join(ways)}."
