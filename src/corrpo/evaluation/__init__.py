"""Reasoning benchmarks: suites, generation, checking, and accuracies with intervals clustered by problem."""
