"""Generations with their verdicts, as `corrpo evaluate` writes them, for tests of training on them."""

from pathlib import Path
from typing import Any

import polars as pl

from corrpo.evaluation.results import GENERATIONS_SCHEMA
from corrpo.lab.problems import training_problems


def generation(
    problem: str, response: str, *, correct: bool, finished: bool = True, prompt: str = "What is 1 + 1?"
) -> dict[str, Any]:
    """A row of generations.parquet."""
    return {
        "problem": problem,
        "sample": 0,
        "prompt": prompt,
        "response": response,
        "n_tokens": 3,
        "finished": finished,
        "answer": None,
        "gold": "2",
        "correct": correct,
        "verdict": "right" if correct else "wrong",
    }


def write_generations(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as a generations.parquet; returns its path."""
    pl.DataFrame(rows, schema=GENERATIONS_SCHEMA).write_parquet(path)
    return path


def of_sums(count: int = 8) -> list[dict[str, Any]]:
    """A right and a wrong answer to each of some sums."""
    return [
        generation(
            str(n), f"<think></think><answer>{answer}</answer>", correct=right, prompt=problem.question
        )
        for n, problem in enumerate(training_problems(count, seed=4))
        for answer, right in ((problem.answer, True), (f"{problem.answer}1", False))
    ]
