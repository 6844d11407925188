"""GSM8K: school sums in words; the answer stands in the last line of the worked solution."""

from collections.abc import Mapping
from typing import Any

from corrpo.evaluation.suites.benchmark import Benchmark


def _last_line_answer(row: Mapping[str, Any]) -> str:
    """What follows the last ####."""
    return str(row["answer"]).rpartition("####")[2].strip()


BENCHMARK = Benchmark(
    dataset="openai/gsm8k",
    revision="740312add88f781978c0658806c59bc2815b9866",
    config="main",
    split="test",
    problem="question",
    answer=_last_line_answer,
)
