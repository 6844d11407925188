"""The report of an experiment as Markdown, for a page of documentation or a message."""

from collections.abc import Sequence
from typing import Any

from corrpo.experiments.accuracy_against_rho import AccuracyAgainstRho
from corrpo.experiments.arm_difference import SeedMean
from corrpo.experiments.comparisons import Comparison
from corrpo.experiments.experiment_result import ExperimentResult
from corrpo.report.formatting import DASH, count, decimal, p_value, percent


def markdown(found: ExperimentResult, registered: dict[str, Any]) -> str:
    """Verdict, comparisons, arms and association, with links to the files beside it.

    Args:
        found: the experiment.
        registered: the content of its preregistration.json.
    """
    verdict, plan = found.verdict, registered["plan"]
    parts = [
        "# An experiment on the inversion",
        f"**{verdict.sentence}**",
        f"{len(plan['arms'])} arms, {len(plan['seeds'])} seeds, models {', '.join(plan['models'])}; "
        f"{plan['problems']['number']:,} problems of {plan['problems']['suite']}. The "
        f"[plan](preregistration.json) was written {registered['written']}, before the first run; its "
        f"SHA-256 is `{found.preregistration}`.",
        "## The comparisons that decide",
        _comparisons(verdict.deciding),
        "Differences are in points of accuracy, paired by seed and problem; the intervals of one family hold "
        f"together. Of interest are {100 * verdict.analysis.smallest_effect:g} points. Detectable is what "
        f"one comparison finds with {percent(verdict.analysis.power, 0)} % power at the corrected level.",
        "![differences in accuracy](figures/differences.svg)",
        "![accuracy and change of rho by arm](figures/arms.svg)",
        "## By model and by pass@k",
        _comparisons(verdict.others),
    ]
    if verdict.also:
        parts += ["## Other arms", _comparisons(verdict.also)]
    parts += [
        "## Arms",
        _arms(found),
        "Means over seeds, with t intervals over seeds alone: for these problems and prompts.",
        "## Gain and change of rho",
        association_told(found.association),
        "Tables: [results.parquet](results.parquet) (runs and problems), [runs.parquet](runs.parquet), "
        "[verdict.json](verdict.json).",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def association_told(line: AccuracyAgainstRho) -> str:
    """What the line through the other arms says of the gain, in words."""
    if line.slope is None:
        return f"No line: {line.reason}."
    told = (
        f"Over {line.n_runs:,} runs of the {line.n_arms} other arms, accuracy differs by "
        f"{decimal(line.slope, 3)}{_interval(line.low, line.high, 3)} for a change of rho by 1."
    )
    if line.low is None or line.high is None:
        return f"{told} {line.reason}."
    if line.low <= 0 <= line.high:
        return f"{told} The interval holds 0: nothing is said of the gain."
    ends = _interval(line.along_low, line.along_high, 1, 100)
    return (
        f"{told} Of the gain of {percent(line.gain)} points over the baseline, that line foretells "
        f"{percent(line.along)}{ends}."
    )


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    rows = [
        (
            each.model,
            each.treatment,
            each.arm,
            f"pass@{each.k}",
            f"{percent(each.contrast.value)}{_interval(each.contrast.low, each.contrast.high, 1, 100)}",
            p_value(each.p_corrected),
            p_value(each.p_excluded),
            percent(each.detectable),
            count(each.seeds_needed),
            _mean(each.rho, 3),
        )
        for each in comparisons
    ]
    head = ("model", "arm", "less", "outcome", "difference", "p (Holm)", "p of a difference of interest")
    return _table((*head, "detectable", "seeds needed", "difference in change of rho"), rows, left=4)


def _arms(found: ExperimentResult) -> str:
    ks = found.verdict.analysis.k
    rows = [
        (
            each.model,
            each.arm,
            *(_mean(each.accuracy[k], 1, 100) for k in ks),
            _mean(each.rho, 3),
            decimal(each.change, 3),
            _mean(each.change_from_baseline, 3),
            decimal(each.mean_tokens, 0),
        )
        for each in found.arms
    ]
    head = ("model", "arm", *(f"pass@{k} (%)" for k in ks), "rho", "change of rho")
    return _table((*head, "less that of the baseline", "tokens"), rows, left=2)


def _mean(mean: SeedMean, digits: int, scale: float = 1.0) -> str:
    value = DASH if mean.value is None else decimal(scale * mean.value, digits)
    return value + _interval(mean.low, mean.high, digits, scale)


def _interval(low: float | None, high: float | None, digits: int, scale: float = 1.0) -> str:
    """ " [low, high]", or nothing."""
    if low is None or high is None:
        return ""
    return f" [{decimal(scale * low, digits)}, {decimal(scale * high, digits)}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """A Markdown table whose columns from `left` on are numbers."""
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
