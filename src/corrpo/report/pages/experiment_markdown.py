"""The report of an experiment as Markdown, for a page of documentation or a message."""

from collections.abc import Collection, Sequence
from typing import Any

from corrpo.experiments.accuracy_against_rho import AccuracyAgainstRho
from corrpo.experiments.arm_difference import Contrast, SeedMean
from corrpo.experiments.comparisons import Comparison
from corrpo.experiments.experiment_result import ExperimentResult
from corrpo.experiments.training_cost import MEASURES, unmatched_arms
from corrpo.report.formatting import DASH, bracketed, count, decimal, markdown_table, p_value, percent

FIGURES = {
    "differences": "![differences in accuracy](figures/differences.svg)",
    "arms": "![accuracy and change of rho by arm](figures/arms.svg)",
    "costs": "![accuracy against what training cost](figures/costs.svg)",
}
"""By name, how the figures of an experiment stand in the text."""


def markdown(result: ExperimentResult, registered: dict[str, Any], drawn: Collection[str] = FIGURES) -> str:
    """Verdict, comparisons, arms and association, with links to the files beside it.

    Args:
        result: of the experiment.
        registered: the content of its preregistration.json.
        drawn: names of the figures that there are.
    """
    figures = {name: FIGURES[name] if name in drawn else "" for name in FIGURES}
    verdict, plan = result.verdict, registered["plan"]
    parts = [
        "# An experiment on the inversion",
        f"**{verdict.sentence}**",
        f"{len(plan['arms'])} arms, {len(plan['seeds'])} seeds, models {', '.join(plan['models'])}; "
        f"{plan['problems']['number']:,} problems of {plan['problems']['suite']}. The "
        f"[plan](preregistration.json) was written {registered['written']}, before the first run; its "
        f"SHA-256 is `{result.preregistration}`.",
        "## The comparisons that decide",
        _comparisons(verdict.deciding),
        "Differences are in points of accuracy, paired by seed and problem; the intervals of one family hold "
        f"together. Of interest are {100 * verdict.analysis.smallest_effect:g} points. Detectable is what "
        f"one comparison finds with {percent(verdict.analysis.power, 0)} % power at the corrected level.",
        figures["differences"],
        figures["arms"],
    ]
    if verdict.others:
        parts += ["## By model and by pass@k", _comparisons(verdict.others)]
    if verdict.also:
        parts += ["## Other arms", _comparisons(verdict.also)]
    if result.arm_costs:
        parts += ["## Cost of training", *cost_sentences(result), _costs(result), _matched(result)]
        parts.append(figures["costs"])
    parts += [
        "## Arms",
        _arms(result),
        "Means over seeds, with t intervals over seeds alone: for these problems and prompts.",
        "## Gain and change of rho",
        association_sentence(result.association),
        "Tables: [results.parquet](results.parquet) (runs and problems), [runs.parquet](runs.parquet), "
        + "[costs.parquet](costs.parquet) (training), " * bool(result.arm_costs)
        + "[verdict.json](verdict.json).",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def association_sentence(line: AccuracyAgainstRho) -> str:
    """What the line through the other arms says of the gain, in words."""
    if line.slope is None:
        return f"No line: {line.reason}."
    sentence = (
        f"Over {line.n_runs:,} runs of the {line.n_arms} other arms, accuracy differs by "
        f"{decimal(line.slope, 3)}{_interval(line.low, line.high, 3)} for a change of rho by 1."
    )
    if line.low is None or line.high is None:
        return f"{sentence} {line.reason}."
    if line.low <= 0 <= line.high:
        return f"{sentence} The interval holds 0: nothing is said of the gain."
    ends = _interval(line.along_low, line.along_high, 1, 100)
    return (
        f"{sentence} Of the gain of {percent(line.gain)} points over the baseline, that line foretells "
        f"{percent(line.along)}{ends}."
    )


def cost_sentences(result: ExperimentResult) -> list[str]:
    """What the tables of costs show."""
    sentences = [
        "Means over seeds of what a run generated in training and how long that took, without evaluations "
        "(seconds are of the machine and what else ran on it); and the parts of the scored responses that "
        "ended without an answer, and that did not end."
    ]
    if result.matched:
        sentences.append(
            "Equal cost is the largest that every run of both arms had reached. Accuracy there is by the "
            "evaluations while they trained, on a line between two of them; differences are paired by seed. "
            "None of it enters the verdict."
        )
    baseline = result.verdict.analysis.baseline
    if left_out := unmatched_arms(result.costs, baseline, result.matched):
        named = ", ".join(f"{arm} on {model} ({MEASURES[measure]})" for model, arm, measure in left_out)
        sentences.append(
            f"Not compared with {baseline} at equal cost: {named}. Runs of the two have other seeds, "
            "or were not all evaluated at or before the largest cost that all of them had reached."
        )
    return sentences


def _costs(result: ExperimentResult) -> str:
    rows = [
        (
            row.model,
            row.arm,
            _mean(row.generated_tokens, 0),
            _mean(row.seconds, 0),
            _mean(row.abstained, 1, 100),
            _mean(row.cut, 1, 100),
        )
        for row in result.arm_costs
    ]
    head = ("model", "arm", "tokens generated", "seconds", "without an answer (%)", "cut (%)")
    return markdown_table(head, rows, text_columns=2)


def _matched(result: ExperimentResult) -> str:
    rows = [
        (
            row.model,
            row.arm,
            row.baseline,
            f"{decimal(row.budget, 0)} {MEASURES[row.measure]}",
            _mean(row.accuracy, 1, 100),
            _mean(row.difference, 1, 100),
        )
        for row in result.matched
    ]
    head = ("model", "arm", "less", "at equal cost", "accuracy (%)", "difference (points)")
    return markdown_table(head, rows, text_columns=4) if rows else ""


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    rows = [
        (
            row.model,
            row.treatment,
            row.arm,
            f"pass@{row.k}",
            _points(row.contrast.shown),
            p_value(row.p_corrected),
            p_value(row.p_excluded),
            percent(row.detectable),
            count(row.seeds_needed),
            _mean(row.rho.within(-4, 4), 3),
        )
        for row in comparisons
    ]
    head = ("model", "arm", "less", "outcome", "difference", "p of t (Holm)", "p of a difference of interest")
    return markdown_table(
        (*head, "detectable", "seeds needed", "difference in change of rho"), rows, text_columns=4
    )


def _points(contrast: Contrast) -> str:
    return percent(contrast.value) + _interval(contrast.low, contrast.high, 1, 100)


def _arms(result: ExperimentResult) -> str:
    ks = result.verdict.analysis.k
    rows = [
        (
            arm.model,
            arm.arm,
            *(_mean(arm.accuracy[k], 1, 100) for k in ks),
            _mean(arm.rho, 3),
            decimal(arm.change, 3),
            _mean(arm.change_from_baseline, 3),
            decimal(arm.mean_tokens, 0),
        )
        for arm in result.arms
    ]
    head = ("model", "arm", *(f"pass@{k} (%)" for k in ks), "rho", "change of rho")
    return markdown_table((*head, "less that of the baseline", "tokens"), rows, text_columns=2)


def _mean(mean: SeedMean, digits: int, scale: float = 1.0) -> str:
    value = DASH if mean.value is None else decimal(scale * mean.value, digits)
    return value + _interval(mean.low, mean.high, digits, scale)


def _interval(low: float | None, high: float | None, digits: int, scale: float = 1.0) -> str:
    """ " [low, high]", or nothing."""

    def shown(end: float | None) -> str:
        return decimal(None if end is None else scale * end, digits)

    return f" {bracketed(low, high, shown)}".rstrip()
