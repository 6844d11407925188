"""How estimators that are not `exact` were found to rank as it does: fidelity.json, in words.

The file is written by `benchmarks/fidelity/table.py --write` from measurements on pretrained models and on
the lab; docs/METHOD.md, section 3, shows it with intervals. No torch is needed, so that --help can tell it.
"""

import json
from pathlib import Path
from typing import Any

ROWS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("fidelity.json").read_text(encoding="utf-8"))
"""A row for each model and signal: an estimator (null for baselines), its settings, and [value, low, high]
of its agreement with `exact`: `tokens` (Spearman over tokens), `shift` (of rho), `rollouts`, `within_groups`
(Spearman of the rhos of rollouts)."""

_WHAT = (
    "Against exact on responses of the models themselves (Spearman over tokens; shift of rho; Spearman of "
    "the rhos of a prompt's rollouts)"
)


def _numbers(row: dict[str, Any]) -> str:
    tokens, shift, within = (row[name][0] for name in ("tokens", "shift", "within_groups"))
    return f"{tokens:.2f}; {shift:+.2f}; {within:.2f} on {row['model']}"


def _told(estimator: str) -> list[str]:
    """For each way in which an estimator was used, its numbers on pretrained models."""
    rows = [row for row in ROWS if row["estimator"] == estimator and row["pretrained"]]
    ways = {
        row["settings"]: [other for other in rows if other["settings"] == row["settings"]] for row in rows
    }
    return [f"{settings}: {', '.join(map(_numbers, of_way))}" for settings, of_way in ways.items()]


FIDELITY = {name: f"{_WHAT}: {'. '.join(_told(name))}." for name in ("pruned", "last", "own")}
"""By the name of the estimator, what a reader of its numbers is told."""


def told() -> str:
    """All of them in one paragraph.

    >>> told()[:30]
    'Against exact on responses of '
    """
    return f"{_WHAT}: " + ". ".join(f"{name}, {way}" for name in FIDELITY for way in _told(name)) + "."
