"""Minerva: problems of undergraduate science, some of whose answers are in scientific notation."""

import re
from collections.abc import Mapping
from typing import Any

from corrpo.evaluation.suites.benchmark import Benchmark

_SCIENTIFIC = re.compile(r"\s*([+-]?[0-9]*\.?[0-9]+)[eE]([+-]?[0-9]+)\s*")


def _scientific_answer(row: Mapping[str, Any]) -> str:
    """The answer with 3e8 spelt out as a power of ten: math-verify would take its e for a factor."""
    answer = str(row["answer"])
    number = _SCIENTIFIC.fullmatch(answer)
    return answer if number is None else rf"{number[1]} \times 10^{{{int(number[2])}}}"


BENCHMARK = Benchmark(
    dataset="math-ai/minervamath",
    revision="ee46ddc498933b1977577953250ca5c66be64f96",
    split="test",
    problem="question",
    answer=_scientific_answer,
)
