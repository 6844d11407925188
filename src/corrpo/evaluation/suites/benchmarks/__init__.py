"""The benchmarks, one file each; `benchmark.BenchmarkName` lists them."""
