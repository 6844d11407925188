"""OlympiadBench: open-ended mathematics in English, without figures; some problems have several answers."""

from collections.abc import Mapping
from typing import Any

from corrpo.evaluation.suites.benchmark import Benchmark


def _joined_answers(row: Mapping[str, Any]) -> str:
    """All answers, with commas between."""
    answers = row["final_answer"]
    return ", ".join(map(str, answers)) if isinstance(answers, list) else str(answers)


BENCHMARK = Benchmark(
    dataset="Hothan/OlympiadBench",
    revision="91184b52131e7fc9455fef848035173aea8cc01a",
    config="OE_TO_maths_en_COMP",
    split="train",
    problem="question",
    answer=_joined_answers,
)
