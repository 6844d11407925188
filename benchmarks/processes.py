"""Growth with the number of workers: samples a second of `measure` with 1 and 2, a thread each.

The work is 16 given responses of 40 to 160 characters under `exact`, at 6 tokens a response, on the model of
d = 512. Workers have started and loaded the model by a first measurement; tasks, writing and the summary
count. With `--cluster` the workers are actors of a Ray cluster of one node, started here, and not processes.
"""

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from transformers import AutoTokenizer

from common import benchmark_model, heading, table
from corrpo.jobs.workers import Workers, open_workers
from corrpo.lab import checkpoint
from corrpo.measurement.measure_tasks import NamedModel
from corrpo.measurement.pipeline import measure_in_workers
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.load_options import LoadOptions

TEXT = "walked to the river and " * 10
SAMPLES = [
    {"id": str(number), "prompt": "The dog ", "response": TEXT[: 40 + 40 * (number % 4)]}
    for number in range(16)
]
OPTIONS = {"template": "plain", "max_tokens": 6, "resamples": 0, "permutations": 0}
REPEATS = 2


def seconds(model: NamedModel, workers: Workers) -> float:
    """The time of one measurement."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        measure_in_workers(model, SAMPLES, workers, output=Path(folder), **OPTIONS)
        return time.perf_counter() - start


def main(cluster: str | None = None) -> None:
    """The least of interleaved repetitions, and the gain."""
    loading = LoadOptions(device="cpu")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        benchmark_model().save_pretrained(folder)
        AutoTokenizer.from_pretrained(checkpoint("qwen2", "base")).save_pretrained(folder)
        model, tasks = NamedModel(folder, loading), [Checkpoint("m", None, None, folder)] * len(SAMPLES)
        best = dict.fromkeys((1, 2), float("inf"))
        several = {n: stack.enter_context(open_workers(tasks, n, cluster, loading)) for n in best}
        for workers in several.values():
            seconds(model, workers)
        for _ in range(REPEATS):
            for count, workers in several.items():
                best[count] = min(best[count], seconds(model, workers))
    where = "processes" if cluster is None else "Ray"
    with heading(
        f"Growth with workers ({where}): {len(SAMPLES)} samples, a thread each, {os.cpu_count()} cores"
    ):
        rows = [
            [str(n), f"{time:.2f} s", f"{len(SAMPLES) / time:.2f}", f"{best[1] / time:.2f}"]
            for n, time in best.items()
        ]
        table(["workers", "time", "samples a second", "over one"], rows)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    if sys.argv[1:] == ["--cluster"]:
        from ray.cluster_utils import Cluster

        arguments = {"num_cpus": 3, "object_store_memory": 100 << 20, "include_dashboard": False}
        main(Cluster(initialize_head=True, head_node_args=arguments).address)
    else:
        main()
