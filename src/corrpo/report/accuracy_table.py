"""The table of accuracies: models or checkpoints by suites and measures, with what the verifier failed on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from corrpo.errors import BadInputError
from corrpo.evaluation.results import Evaluation
from corrpo.report.collection import EvaluatedRun
from corrpo.report.explanations import interval_name
from corrpo.statistics.accuracy_estimate import Estimate

SAME = ("n", "temperature", "top_p", "max_new_tokens", "prompt", "check")
"""Settings that must agree for two accuracies on a suite to stand in one table."""


@dataclass(frozen=True)
class SuiteCounts:
    """What became of all generations for one suite; see `Evaluation.counts`."""

    name: str
    problems: int
    generations: int
    unfinished: int
    unparsed: int
    unreadable: int
    verifier_timeouts: int
    verifier_errors: int


COUNTED = tuple(field.name for field in fields(SuiteCounts) if field.name not in ("name", "problems"))


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracies, in the order of the given runs.

    Attributes:
        columns: (suite, measure).
        groups: for each run, a row (name, a cell per column) for each of its checkpoints.
        suites: what became of the generations, a suite each.
        reasons: why a cell or its interval is missing.
        interval_name: with the confidence.
    """

    columns: list[tuple[str, str]]
    groups: list[list[tuple[str, list[Estimate | None]]]]
    suites: list[SuiteCounts]
    reasons: list[str]
    interval_name: str


def accuracy_table(evaluated: Sequence[EvaluatedRun]) -> AccuracyTable:
    """The table of all evaluations.

    A suite that was evaluated on other problems, or with other settings, in two of them is an error that
    names the difference.
    """
    rows = [evaluation for run in evaluated for evaluation in run.evaluations]
    names = list(dict.fromkeys(row.suite["name"] for row in rows))
    of_suite = {name: [row for row in rows if row.suite["name"] == name] for name in names}
    for same in of_suite.values():
        _check_same(same)
    columns = [
        (name, measure)
        for name, same in of_suite.items()
        for measure in dict.fromkeys(measure for row in same for measure in row.estimates)
    ]
    groups = [_rows(run, columns) for run in evaluated]
    reasons = [
        f"{name}, {suite} {measure}: {cell.reason}"
        for group in groups
        for name, cells in group
        for (suite, measure), cell in zip(columns, cells, strict=True)
        if cell is not None and cell.reason
    ]
    counted = [_counts(name, same) for name, same in of_suite.items()]
    return AccuracyTable(columns, groups, counted, reasons, interval_name(rows[0].settings))


def checkpoint_name(run: EvaluatedRun, evaluation: Evaluation) -> str:
    """What to call the model of an evaluation in a table: the run, and its stage and step if it has some."""
    step = evaluation.checkpoint["step"]
    has_several = len({row.checkpoint["key"] for row in run.evaluations}) > 1
    if step is None and not has_several:
        return run.label
    after = "" if step is None else f" step {step:,}"
    return f"{run.label}: {evaluation.checkpoint['stage']}{after}"


def _rows(run: EvaluatedRun, columns: Sequence[tuple[str, str]]) -> list[tuple[str, list[Estimate | None]]]:
    rows: dict[str, dict[str, Evaluation]] = {}
    for evaluation in run.evaluations:
        rows.setdefault(checkpoint_name(run, evaluation), {})[evaluation.suite["name"]] = evaluation
    return [
        (
            name,
            [suites[suite].estimates.get(measure) if suite in suites else None for suite, measure in columns],
        )
        for name, suites in rows.items()
    ]


def _check_same(evaluations: Sequence[Evaluation]) -> None:
    first, *others = evaluations
    for other in others:
        wrong = [
            f"{name} {first.settings.get(name)!r} and {other.settings.get(name)!r}"
            for name in SAME
            if first.settings.get(name) != other.settings.get(name)
        ]
        if first.suite["digest"] != other.suite["digest"]:
            wrong.insert(0, f"problems {first.suite['digest'][:12]} and {other.suite['digest'][:12]}")
        if wrong:
            raise BadInputError(
                f"{first.suite['name']} was evaluated differently for {first.checkpoint['key']} and "
                f"{other.checkpoint['key']}: {'; '.join(wrong)}. Evaluate both with the same settings"
            )


def _counts(name: str, evaluations: Sequence[Evaluation]) -> SuiteCounts:
    totals = {what: sum(row.counts[what] for row in evaluations) for what in COUNTED}
    return SuiteCounts(name, evaluations[0].suite["problems"], **totals)
