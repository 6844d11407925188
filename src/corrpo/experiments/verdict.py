"""The verdict on an experiment: pure functions of its two tables, by the rules of `verdict_rules.RULES`.

That every comparison must be significant would need no correction for their number; Holm's is kept, as the
plan states it, and makes "supported" rarer. The models are averaged before the seeds are looked at: what a
seed does to two models at once, through the order of the data, then counts as one seed's doing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from corrpo.experiments.comparisons import (
    POOLED,
    Comparison,
    compare_pairs,
    is_better,
    is_excluded,
    is_inversion_stronger,
)
from corrpo.experiments.result_tables import pass_at_k_tables, rho_changes
from corrpo.experiments.verdict_rules import Analysis, Kind
from corrpo.experiments.verdict_sentence import differences_by_model, headroom_warning, verdict_sentence


@dataclass(frozen=True)
class Verdict:
    """What the experiment says.

    Attributes:
        kind: supported, not supported or undecided.
        sentence: the same in words, with the numbers that decided.
        deciding: the comparisons that it was chosen by, over all models.
        others: the same for each model and for other k, corrected within each; they decide nothing.
        also: the pairs of `Analysis.also`, over all models and for every k, corrected within each k.
        analysis: the rules' numbers.
    """

    kind: Kind
    sentence: str
    deciding: tuple[Comparison, ...]
    others: tuple[Comparison, ...]
    also: tuple[Comparison, ...]
    analysis: Analysis

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


def reach_verdict(
    results: pl.DataFrame, runs: pl.DataFrame, analysis: Analysis, *, models: Sequence[str]
) -> Verdict:
    """Compare the arms and choose the verdict.

    Args:
        results: see `result_tables.RESULTS_SCHEMA`.
        runs: see `result_tables.RUNS_SCHEMA`.
        analysis: arms, outcome and levels.
        models: that were trained; fixed, of equal weight.

    Raises:
        BadInputError: runs are missing; see `result_tables.pass_at_k_tables`.
    """
    pairs = [(analysis.treatment, arm) for arm in analysis.compared]
    groups = {POOLED: list(models)} | ({model: [model] for model in models} if len(models) > 1 else {})
    arms = list(
        dict.fromkeys([analysis.treatment, *analysis.compared, *analysis.also, *analysis.also.values()])
    )
    change = {(model, arm): rho_changes(runs, model, arm) for model in models for arm in arms}
    accuracy = {k: pass_at_k_tables(results, models=models, arms=arms, k=k) for k in analysis.k}
    of_treatment: list[Comparison] = []
    also: list[Comparison] = []
    for k, tables in accuracy.items():
        for name, members in groups.items():
            of_treatment += compare_pairs(tables, change, analysis, pairs, members, name=name, k=k)
        if analysis.also:
            other_pairs = list(analysis.also.items())
            also += compare_pairs(tables, change, analysis, other_pairs, models, name=POOLED, k=k)
    deciding, others = tuple(of_treatment[: len(pairs)]), tuple(of_treatment[len(pairs) :])
    kind = _decide(deciding, analysis)
    baseline = np.array([accuracy[analysis.k[0]][model, analysis.baseline] for model in models])
    sentences = (
        verdict_sentence(kind, deciding, analysis),
        differences_by_model(others, analysis),
        headroom_warning(float(baseline.mean()), analysis),
    )
    return Verdict(kind, " ".join(filter(None, sentences)), deciding, others, tuple(also), analysis)


def _decide(deciding: Sequence[Comparison], analysis: Analysis) -> Kind:
    """The verdict by `verdict_rules.RULES`; the baseline is the first of the comparisons."""
    if not is_inversion_stronger(deciding):
        return "undecided"
    if all(is_better(comparison, analysis) for comparison in deciding):
        return "supported"
    if any(is_excluded(comparison, analysis) for comparison in deciding):
        return "not supported"
    return "undecided"
