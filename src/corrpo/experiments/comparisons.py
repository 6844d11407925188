"""Arms compared in pairs, with p-values and intervals corrected for how many pairs a family has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from corrpo.experiments.arm_difference import Contrast, SeedMean, crossed_contrast, mean_over_seeds
from corrpo.experiments.power import detectable_difference, seeds_needed
from corrpo.experiments.verdict_rules import Analysis
from corrpo.statistics.coefficients import Array

POOLED = "all models"


@dataclass(frozen=True)
class Comparison:
    """One arm against another, on one model or on all.

    Attributes:
        model: its name, or `POOLED`.
        treatment: an arm.
        arm: that it is compared with.
        k: of pass@k.
        contrast: treatment less arm, in accuracy; the intervals of a family hold together.
        rho: treatment less arm, in the change of rho over training; the same for every k.
        p_corrected: two-sided, by Holm over the comparisons of its family; None without an interval.
        p_excluded: of a difference of the smallest effect of interest or more, by Bonferroni over the family;
            twice the one-sided p-value, so that alpha is the bar for it too.
        detectable: the smallest true difference found with the wanted power at the corrected level.
        seeds_needed: seeds that find the smallest effect of interest so; None where no number does with
            problems as many as these.
    """

    model: str
    treatment: str
    arm: str
    k: int
    contrast: Contrast
    rho: SeedMean
    p_corrected: float | None
    p_excluded: float | None
    detectable: float | None
    seeds_needed: int | None


def is_inversion_stronger(deciding: Sequence[Comparison]) -> bool:
    """Whether the change in rho less that of the baseline, the first of the comparisons, lies below 0."""
    high = deciding[0].rho.high
    return high is not None and high < 0


def is_better(comparison: Comparison, analysis: Analysis) -> bool:
    """Whether the treatment is significantly better than the arm that it is compared with."""
    p = comparison.p_corrected
    return p is not None and p <= analysis.alpha and comparison.contrast.value > 0


def is_excluded(comparison: Comparison, analysis: Analysis) -> bool:
    """Whether a gain of the smallest effect of interest or more over the other arm is excluded."""
    return comparison.p_excluded is not None and comparison.p_excluded <= analysis.alpha


def compare_pairs(
    accuracy: Mapping[tuple[str, str], Array],
    change: Mapping[tuple[str, str], Array],
    analysis: Analysis,
    pairs: Sequence[tuple[str, str]],
    models: Sequence[str],
    *,
    name: str,
    k: int,
) -> list[Comparison]:
    """Compare pairs of arms on the mean over some models, as one family.

    `accuracy` is pass@k, float [seeds, problems], and `change` that of rho, float [seeds], of each model and
    arm. The `models` are averaged with equal weight, and called `name` in the comparisons.
    """
    arms = list(dict.fromkeys(arm for pair in pairs for arm in pair))
    pooled_accuracy, pooled_change = (
        {arm: np.mean([table[model, arm] for model in models], axis=0) for arm in arms}
        for table in (accuracy, change)
    )
    confidence, level = 1 - analysis.alpha, analysis.alpha / len(pairs)
    contrasts = [
        crossed_contrast(pooled_accuracy[arm] - pooled_accuracy[other], confidence=1 - level)
        for arm, other in pairs
    ]
    corrected = holm([contrast.p for contrast in contrasts])
    comparisons = []
    for (arm, other), contrast, p in zip(pairs, contrasts, corrected, strict=True):
        excluded = contrast.p_at_least(analysis.smallest_effect)
        comparisons.append(
            Comparison(
                model=name,
                treatment=arm,
                arm=other,
                k=k,
                contrast=contrast,
                rho=mean_over_seeds(pooled_change[arm] - pooled_change[other], confidence),
                p_corrected=p,
                p_excluded=None if excluded is None else min(1.0, 2 * len(pairs) * excluded),
                detectable=detectable_difference(contrast, alpha=level, power=analysis.power),
                seeds_needed=seeds_needed(
                    contrast, analysis.smallest_effect, alpha=level, power=analysis.power
                ),
            )
        )
    return comparisons


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected by Holm (1979): each may be held against the level as if it were the only one.

    Args:
        p_values: of all comparisons; one that has none counts as a comparison and stays None.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.04, 0.09, None, 0.09]
    """
    order = sorted(range(len(p_values)), key=lambda i: _or_one(p_values[i]))
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        p = p_values[i]
        if p is not None:
            largest = max(largest, min(1.0, (len(p_values) - rank) * p))
            corrected[i] = largest
    return corrected


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p
