"""AIME 2024: 30 problems; the answer stands in the box of the solution. 16 generations each, for pass@16."""

from collections.abc import Mapping
from typing import Any

from corrpo.answers.reading import boxed_answer
from corrpo.evaluation.suites.benchmark import Benchmark


def _boxed_solution(row: Mapping[str, Any]) -> str:
    """The text within the last box."""
    return boxed_answer(str(row["solution"])) or ""


BENCHMARK = Benchmark(
    dataset="math-ai/aime24",
    revision="83a7f387baaa524a8bda0022eac0541582297103",
    split="test",
    problem="problem",
    answer=_boxed_solution,
    n=16,
)
