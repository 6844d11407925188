"""The verdict on an experiment: pure functions of its table of results, by the rules of `analysis.RULES`.

That every comparison must be significant would need no correction for their number; Holm's is kept, as the
plan states it, and makes "supported" rarer. The models are averaged before the seeds are looked at: what a
seed does to two models at once, through the order of the data, then counts as one seed's doing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from corrpo.experiments.analysis import Analysis
from corrpo.experiments.contrasts import (
    Contrast,
    Mean,
    crossed,
    detectable,
    holm,
    mean_over_seeds,
    seeds_for,
)
from corrpo.experiments.results import outcomes, rho_changes
from corrpo.statistics.coefficients import Array

Kind = Literal["supported", "not supported", "undecided"]
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
    rho: Mean
    p_corrected: float | None
    p_excluded: float | None
    detectable: float | None
    seeds_needed: int | None


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
        results: see `results.RESULTS_SCHEMA`.
        runs: see `results.RUNS_SCHEMA`.
        analysis: arms, outcome and levels.
        models: that were trained; fixed, of equal weight.

    Raises:
        BadInputError: runs are missing; see `results.outcomes`.
    """
    pairs = [(analysis.treatment, arm) for arm in analysis.compared]
    groups = {POOLED: list(models)} | ({model: [model] for model in models} if len(models) > 1 else {})
    arms = list(
        dict.fromkeys([analysis.treatment, *analysis.compared, *analysis.also, *analysis.also.values()])
    )
    rho = {(model, arm): rho_changes(runs, model, arm) for model in models for arm in arms}
    accuracy = {k: outcomes(results, models=models, arms=arms, k=k) for k in analysis.k}
    found, also = [], []
    for k, of_k in accuracy.items():
        for name, members in groups.items():
            found += _family(of_k, rho, analysis, pairs, (name, members), k)
        if analysis.also:
            also += _family(of_k, rho, analysis, list(analysis.also.items()), (POOLED, models), k)
    deciding, others = tuple(found[: len(pairs)]), tuple(found[len(pairs) :])
    kind, sentence = _decide(deciding, analysis)
    baseline = [accuracy[analysis.k[0]][model, analysis.baseline] for model in models]
    remarks = [_by_model(others, analysis), _headroom(np.array(baseline), analysis)]
    return Verdict(
        kind, " ".join([sentence, *filter(None, remarks)]), deciding, others, tuple(also), analysis
    )


def _family(
    outcome: Mapping[tuple[str, str], Array],
    change: Mapping[tuple[str, str], Array],
    analysis: Analysis,
    pairs: Sequence[tuple[str, str]],
    group: tuple[str, Sequence[str]],
    k: int,
) -> list[Comparison]:
    """Pairs of arms on the mean over the models of a group, corrected for their number."""
    name, models = group
    arms = list(dict.fromkeys(arm for pair in pairs for arm in pair))
    accuracy, rho = (
        {arm: np.mean([table[model, arm] for model in models], axis=0) for arm in arms}
        for table in (outcome, change)
    )
    confidence, level = 1 - analysis.alpha, analysis.alpha / len(pairs)
    contrasts = [crossed(accuracy[one] - accuracy[other], confidence=1 - level) for one, other in pairs]
    found = []
    corrected = holm([each.p for each in contrasts])
    for (one, other), contrast, p in zip(pairs, contrasts, corrected, strict=True):
        excluded = contrast.p_at_least(analysis.smallest_effect)
        found.append(
            Comparison(
                name,
                one,
                other,
                k,
                contrast,
                mean_over_seeds(rho[one] - rho[other], confidence),
                p,
                None if excluded is None else min(1.0, 2 * len(pairs) * excluded),
                detectable(contrast, alpha=level, power=analysis.power),
                seeds_for(contrast, analysis.smallest_effect, alpha=level, power=analysis.power),
            )
        )
    return found


def _decide(deciding: Sequence[Comparison], analysis: Analysis) -> tuple[Kind, str]:
    """The verdict and its sentence."""
    treatment, smallest = analysis.treatment, f"{100 * analysis.smallest_effect:g}"
    base = deciding[0].rho
    if base.high is None or base.high >= 0:
        return "undecided", (
            f"Undecided: {treatment} is not shown to strengthen the inversion: its change in rho less that "
            f"of {analysis.baseline} is {_rho(base)}. So these runs say nothing of what it does."
        )
    moved = f"Its change in rho less that of {analysis.baseline} is {_rho(base)}."
    better = [
        each
        for each in deciding
        if each.p_corrected is not None and each.p_corrected <= analysis.alpha and each.contrast.value > 0
    ]
    excluded = [
        each for each in deciding if each.p_excluded is not None and each.p_excluded <= analysis.alpha
    ]
    if len(better) == len(deciding):
        return "supported", f"{_supported(deciding, excluded, analysis)} {moved}"
    if excluded:
        told = ", ".join(f"{_points(each.contrast)} from {each.arm}" for each in excluded)
        gain = ""
        if deciding[0] in better:
            gain = f" It is better than {deciding[0].arm} by {_points(deciding[0].contrast)}."
        elif deciding[0] not in excluded:
            gain = f" It is not shown to be better than {deciding[0].arm} either."
        return "not supported", (
            f"Not supported: that {treatment} is better by {smallest} points or more than "
            f"{_listed(excluded)} is excluded; the difference is {told}.{gain} {moved}"
        )
    return "undecided", f"{_undecided([each for each in deciding if each not in better], analysis)} {moved}"


def _supported(deciding: Sequence[Comparison], excluded: Sequence[Comparison], analysis: Analysis) -> str:
    least, names = min(deciding, key=lambda each: each.contrast.low or 0.0), ", ".join(analysis.controls)
    against = f"{analysis.baseline} and than every control ({names})" if names else analysis.baseline
    small = ""
    if excluded:
        points = f"{100 * analysis.smallest_effect:g}"
        small = f"; differences of {points} points from {_listed(excluded)} are excluded"
    return (
        f"Supported: {analysis.treatment} is better than {against}; the least certain difference, from "
        f"{least.arm}, is {_points(least.contrast)}{small}."
    )


def _undecided(left: Sequence[Comparison], analysis: Analysis) -> str:
    sizes = [each.detectable for each in left if each.detectable is not None]
    reasons = dict.fromkeys(each.contrast.reason for each in left if each.contrast.reason)
    seen = "; ".join(str(reason) for reason in reasons)
    if sizes:
        points = f"{100 * max(sizes):.1f} points" if max(sizes) < 1 else "more than there is"
        seen = f"with {100 * analysis.power:g} % power each comparison would have seen one of about {points}"
    return (
        f"Undecided at this power: these runs neither show {analysis.treatment} better than {_listed(left)} "
        f"nor exclude a difference of {100 * analysis.smallest_effect:g} points; {seen}."
    )


def _by_model(others: Sequence[Comparison], analysis: Analysis) -> str:
    """The difference from the baseline on each model, where there are several."""
    mine = [each for each in others if each.k == analysis.k[0] and each.arm == analysis.baseline]
    if not mine:
        return ""
    signs = {each.contrast.value > 0 for each in mine}
    differ = "; the models differ in sign" if len(signs) > 1 else ""
    told = ", ".join(f"{each.model} {_points(each.contrast)}" for each in mine)
    return f"From {analysis.baseline} by model: {told}{differ}."


def _headroom(baseline: Array, analysis: Analysis) -> str:
    """A warning where the baseline solves next to nothing or nearly all."""
    accuracy = float(baseline.mean())
    if analysis.smallest_effect < accuracy < 1 - analysis.smallest_effect:
        return ""
    return f"{analysis.baseline} solves {100 * accuracy:.1f} % of the problems: little could be seen."


def _listed(comparisons: Sequence[Comparison]) -> str:
    *rest, last = (each.arm for each in comparisons)
    return f"{', '.join(rest)} or {last}" if rest else last


def _points(contrast: Contrast) -> str:
    """The value and its interval in points of accuracy."""
    if contrast.low is None or contrast.high is None:
        return f"{_signed(100 * contrast.value, 1)} points"
    ends = f"[{_signed(100 * contrast.low, 1)}, {_signed(100 * contrast.high, 1)}]"
    return f"{_signed(100 * contrast.value, 1)} {ends} points"


def _rho(mean: Mean) -> str:
    """The value and its interval."""
    if mean.value is None:
        return "not known, as rho does not exist"
    if mean.low is None or mean.high is None:
        return f"{_signed(mean.value, 2)}, of one seed"
    return f"{_signed(mean.value, 2)} [{_signed(mean.low, 2)}, {_signed(mean.high, 2)}]"


def _signed(value: float, digits: int) -> str:
    """With its sign, and no -0.0."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
