"""MATH-500: 500 problems of the MATH test set."""

from corrpo.evaluation.suites.benchmark import Benchmark

BENCHMARK = Benchmark(
    dataset="HuggingFaceH4/MATH-500",
    revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
    split="test",
    problem="problem",
)
