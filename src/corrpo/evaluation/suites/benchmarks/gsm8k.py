"""GSM8K: school sums in words; the answer stands in the last line of the worked solution."""

from corrpo.answers.reading import solution_answer
from corrpo.evaluation.suites.benchmark import Benchmark

BENCHMARK = Benchmark(
    dataset="openai/gsm8k",
    revision="740312add88f781978c0658806c59bc2815b9866",
    config="main",
    split="test",
    problem="question",
    answer=lambda row: solution_answer(str(row["answer"])),
)
