"""The benchmarks by name: where each is on the hub, which columns it has, and how it is asked and checked.

A benchmark is a file in `benchmarks/` of the same name that defines `BENCHMARK`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from corrpo.errors import BadInputError, RecordTable, first_line, require_packages
from corrpo.evaluation.suites.suite import BOXED, Check, Suite, checked_problem

BenchmarkName = Literal["gsm8k", "math500", "aime24", "aime25", "amc23", "minerva", "olympiadbench"]
BENCHMARKS = RecordTable(
    "benchmark",
    "BENCHMARK",
    {name: f"corrpo.evaluation.suites.benchmarks.{name}" for name in get_args(BenchmarkName)},
)
"""Those of the paper."""


def text_answer(row: Mapping[str, Any]) -> str:
    """The column `answer` as it stands."""
    return str(row["answer"])


@dataclass(frozen=True)
class Benchmark:
    """A data set of problems with answers on the hub.

    Attributes:
        dataset: its name on the hub.
        revision: a commit.
        split: the split that is asked.
        problem: the column of the problem; a column `context` stands before it, if there is one.
        answer: the right answer from a row; a KeyError of it names a column that is not there.
        config: the configuration of the data set, if it has several.
        n: generations for each problem, unless others are asked for.
        check: how an answer is compared with the right one.
        prompt: with a place for {problem}.
    """

    dataset: str
    revision: str
    split: str
    problem: str
    answer: Callable[[Mapping[str, Any]], str] = text_answer
    config: str | None = None
    n: int = 1
    check: Check = "math"
    prompt: str = BOXED


def find_benchmark(name: str) -> Benchmark:
    """The record of a benchmark.

    Raises:
        BadInputError: there is no benchmark of that name.

    >>> find_benchmark("aime24").n
    16
    """
    return BENCHMARKS.find(name)


def fetch_benchmark(name: str) -> Suite:
    """A benchmark from the hub."""
    benchmark = find_benchmark(name)
    place = f"{benchmark.dataset} at {benchmark.revision}, split {benchmark.split}"
    problems = []
    for number, row in enumerate(_fetch_rows(name, benchmark, place)):
        row_place = f"suite {name}, {place}, row {number}"
        columns = ", ".join(row)
        if benchmark.problem not in row:
            raise BadInputError(f"{row_place} has no column {benchmark.problem!r}; it has {columns}")
        try:
            answer = benchmark.answer(row)
        except KeyError as error:
            raise BadInputError(f"{row_place} has no column {error}; it has {columns}") from error
        text = "\n".join(str(row[key]) for key in ("context", benchmark.problem) if row.get(key))
        problems.append(checked_problem(row_place, str(number), text, answer))
    return Suite(
        name=name,
        source=benchmark.dataset,
        revision=benchmark.revision,
        problems=tuple(problems),
        check=benchmark.check,
        prompt=benchmark.prompt,
        n=benchmark.n,
    )


def _fetch_rows(name: str, benchmark: Benchmark, place: str) -> Any:
    local = f"; or give a local copy, --data {name}=FILE.jsonl"
    require_packages(f"fetching suite {name}", "datasets", extra="train", instead=local)
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        return datasets.load_dataset(
            benchmark.dataset, benchmark.config, split=benchmark.split, revision=benchmark.revision
        )
    except (OSError, ValueError, KeyError, RuntimeError, DatasetsError) as error:
        raise BadInputError(
            f"suite {name}: cannot fetch {place}: {first_line(error)}. With a local copy, lines of "
            f'{{"problem": ..., "answer": ...}}, give --data {name}=FILE.jsonl'
        ) from error
