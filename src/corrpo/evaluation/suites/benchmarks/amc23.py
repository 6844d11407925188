"""AMC 2023: 40 problems, 4 generations each."""

from corrpo.evaluation.suites.benchmark import Benchmark

BENCHMARK = Benchmark(
    dataset="math-ai/amc23",
    revision="80815d37005feb82cd7f8fbc6901d5d3eff43057",
    split="test",
    problem="question",
    n=4,
)
