"""The verdict in words: one sentence with the numbers that decided, and remarks that decide nothing."""

from collections.abc import Sequence

from corrpo.experiments.arm_difference import Contrast, SeedMean
from corrpo.experiments.comparisons import Comparison, is_better, is_excluded, is_inversion_stronger
from corrpo.experiments.verdict_rules import Analysis, Kind


def verdict_sentence(kind: Kind, deciding: Sequence[Comparison], analysis: Analysis) -> str:
    """The verdict with the numbers of the comparisons that decided, that with the baseline first."""
    baseline = deciding[0]
    change = f"change in rho less that of {analysis.baseline} is {_rho(baseline.rho)}."
    if not is_inversion_stronger(deciding):
        return (
            f"Undecided: {analysis.treatment} is not shown to strengthen the inversion: its {change} "
            "So these runs say nothing of what it does."
        )
    if kind == "supported":
        sentence = _supported(deciding, analysis)
    elif kind == "not supported":
        sentence = _not_supported(deciding, analysis)
    else:
        sentence = _undecided(deciding, analysis)
    return f"{sentence} Its {change}"


def _supported(deciding: Sequence[Comparison], analysis: Analysis) -> str:
    least = min(deciding, key=lambda comparison: comparison.contrast.low or 0.0)
    controls = ", ".join(analysis.controls)
    beaten = f"{analysis.baseline} and than every control ({controls})" if controls else analysis.baseline
    excluded = [comparison for comparison in deciding if is_excluded(comparison, analysis)]
    small = ""
    if excluded:
        points = f"{100 * analysis.smallest_effect:g}"
        small = f"; differences of {points} points from {_listed(excluded)} are excluded"
    return (
        f"Supported: {analysis.treatment} is better than {beaten}; the least certain difference, from "
        f"{least.arm}, is {_points(least.contrast)}{small}."
    )


def _not_supported(deciding: Sequence[Comparison], analysis: Analysis) -> str:
    baseline = deciding[0]
    excluded = [comparison for comparison in deciding if is_excluded(comparison, analysis)]
    differences = ", ".join(
        f"{_points(comparison.contrast)} from {comparison.arm}" for comparison in excluded
    )
    gain = ""
    if is_better(baseline, analysis):
        gain = f" It is better than {baseline.arm} by {_points(baseline.contrast)}."
    elif baseline not in excluded:
        gain = f" It is not shown to be better than {baseline.arm} either."
    return (
        f"Not supported: that {analysis.treatment} is better by {100 * analysis.smallest_effect:g} points or "
        f"more than {_listed(excluded)} is excluded; the difference is {differences}.{gain}"
    )


def _undecided(deciding: Sequence[Comparison], analysis: Analysis) -> str:
    left = [comparison for comparison in deciding if not is_better(comparison, analysis)]
    sizes = [comparison.detectable for comparison in left if comparison.detectable is not None]
    reasons = dict.fromkeys(comparison.contrast.reason for comparison in left if comparison.contrast.reason)
    seen = "; ".join(str(reason) for reason in reasons)
    if sizes:
        points = f"{100 * max(sizes):.1f} points" if max(sizes) < 1 else "more than there is"
        seen = f"with {100 * analysis.power:g} % power each comparison would have seen one of about {points}"
    return (
        f"Undecided at this power: these runs neither show {analysis.treatment} better than {_listed(left)} "
        f"nor exclude a difference of {100 * analysis.smallest_effect:g} points; {seen}."
    )


def differences_by_model(others: Sequence[Comparison], analysis: Analysis) -> str:
    """The difference from the baseline on each model; empty where there is one model."""
    by_model = [
        comparison
        for comparison in others
        if comparison.k == analysis.k[0] and comparison.arm == analysis.baseline
    ]
    if not by_model:
        return ""
    signs = {comparison.contrast.value > 0 for comparison in by_model}
    differ = "; the models differ in sign" if len(signs) > 1 else ""
    differences = ", ".join(f"{comparison.model} {_points(comparison.contrast)}" for comparison in by_model)
    return f"From {analysis.baseline} by model: {differences}{differ}."


def headroom_warning(accuracy: float, analysis: Analysis) -> str:
    """A warning where the baseline solves next to nothing or nearly all; empty otherwise."""
    if analysis.smallest_effect < accuracy < 1 - analysis.smallest_effect:
        return ""
    return f"{analysis.baseline} solves {100 * accuracy:.1f} % of the problems: little could be seen."


def _listed(comparisons: Sequence[Comparison]) -> str:
    *rest, last = (comparison.arm for comparison in comparisons)
    return f"{', '.join(rest)} or {last}" if rest else last


def _points(contrast: Contrast) -> str:
    """The value and its interval in points of accuracy."""
    contrast = contrast.shown
    if contrast.low is None or contrast.high is None:
        return f"{_signed(100 * contrast.value, 1)} points"
    ends = f"[{_signed(100 * contrast.low, 1)}, {_signed(100 * contrast.high, 1)}]"
    return f"{_signed(100 * contrast.value, 1)} {ends} points"


def _rho(mean: SeedMean) -> str:
    """The value and its interval."""
    if mean.value is None:
        return "not known, as rho does not exist"
    inside = mean.within(-4, 4)
    if inside.low is None or inside.high is None:
        seeds = "one seed" if mean.n_seeds == 1 else f"{mean.n_seeds} seeds, which give no interval"
        return f"{_signed(mean.value, 2)}, of {seeds}"
    return f"{_signed(mean.value, 2)} [{_signed(inside.low, 2)}, {_signed(inside.high, 2)}]"


def _signed(value: float, digits: int) -> str:
    """With its sign, and no -0.0."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
