"""The table of benchmarks: models or checkpoints by suites and measures, with what the verifier failed on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class BenchmarkTable:
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


def benchmark_table(evaluated: Sequence[EvaluatedRun]) -> BenchmarkTable:
    """The table of all evaluations.

    Raises:
        BadInputError: a suite that was evaluated on other problems, or with other settings, in two of them;
            the difference is named.
    """
    everything = [evaluation for run in evaluated for evaluation in run.evaluations]
    names = list(dict.fromkeys(each.suite["name"] for each in everything))
    of_suite = {name: [each for each in everything if each.suite["name"] == name] for name in names}
    for same in of_suite.values():
        _check_same(same)
    columns = [
        (name, measure)
        for name, same in of_suite.items()
        for measure in dict.fromkeys(measure for each in same for measure in each.estimates)
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
    return BenchmarkTable(columns, groups, counted, reasons, interval_name(everything[0].settings))


def checkpoint_name(run: EvaluatedRun, evaluation: Evaluation) -> str:
    """What to call the model of an evaluation in a table: the run, and its stage and step if it has some."""
    step = evaluation.checkpoint["step"]
    several = len({each.checkpoint["key"] for each in run.evaluations}) > 1
    if step is None and not several:
        return run.label
    at = "" if step is None else f" step {step:,}"
    return f"{run.label}: {evaluation.checkpoint['stage']}{at}"


def _rows(run: EvaluatedRun, columns: Sequence[tuple[str, str]]) -> list[tuple[str, list[Estimate | None]]]:
    rows: dict[str, dict[str, Evaluation]] = {}
    for each in run.evaluations:
        rows.setdefault(checkpoint_name(run, each), {})[each.suite["name"]] = each
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


def _counts(name: str, evaluations: Iterable[Evaluation]) -> SuiteCounts:
    evaluations = list(evaluations)
    total = lambda what: sum(each.counts[what] for each in evaluations)  # noqa: E731
    return SuiteCounts(
        name=name,
        problems=evaluations[0].suite["problems"],
        generations=total("generations"),
        unfinished=total("unfinished"),
        unparsed=total("unparsed"),
        unreadable=total("unreadable"),
        verifier_timeouts=total("verifier_timeouts"),
        verifier_errors=total("verifier_errors"),
    )
