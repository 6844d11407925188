"""AIME 2025: 30 problems. 16 generations each, for pass@16."""

from corrpo.evaluation.suites.benchmark import Benchmark

BENCHMARK = Benchmark(
    dataset="math-ai/aime25",
    revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
    split="test",
    problem="problem",
    n=16,
)
