"""Growth with the number of processes: samples a second of `measure` with 1 and 2, a thread each.

The work is 16 given responses of 40 to 160 characters under `exact`, at 6 tokens a response, on the model of
d = 512. Starting and loading are not counted; claiming, writing and the summary are.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer

from common import benchmark_model, heading, table
from corrpo.jobs.torchrun import launched
from corrpo.lab import checkpoint
from corrpo.measurement.pipeline import measure

TEXT = "walked to the river and " * 10
SAMPLES = [
    {"id": str(number), "prompt": "The dog ", "response": TEXT[: 40 + 40 * (number % 4)]}
    for number in range(16)
]
OPTIONS = {"template": "plain", "max_tokens": 6, "resamples": 0, "permutations": 0}
REPEATS = 2


def seconds(processes: int) -> float:
    """The time of one measurement in so many processes, as the slowest of them sees it."""
    with tempfile.TemporaryDirectory() as folder:
        words = [str(Path(__file__)), folder]
        if processes > 1:
            words = [
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc_per_node",
                str(processes),
                *words,
            ]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
        return max(json.loads(path.read_text()) for path in Path(folder).glob("*.json"))


def work(folder: Path) -> None:
    """What each process does; writes the seconds that it took."""
    torch.set_num_threads(1)
    model, tokenizer = benchmark_model(), AutoTokenizer.from_pretrained(checkpoint("qwen2", "base"))
    with launched() as team:
        team.wait("loaded")
        start = time.perf_counter()
        measure(model, tokenizer, SAMPLES, output=folder / "out", team=team, **OPTIONS)
        (folder / f"{team.rank}.json").write_text(json.dumps(time.perf_counter() - start))


def main() -> None:
    """The least of interleaved repetitions, and the gain."""
    best = dict.fromkeys((1, 2), float("inf"))
    for _ in range(REPEATS):
        for processes in best:
            best[processes] = min(best[processes], seconds(processes))
    with heading(
        f"Growth with processes: {len(SAMPLES)} samples, a thread a process, {os.cpu_count()} cores"
    ):
        rows = [
            [str(n), f"{time:.2f} s", f"{len(SAMPLES) / time:.2f}", f"{best[1] / time:.2f}"]
            for n, time in best.items()
        ]
        table(["processes", "time", "samples a second", "over one process"], rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(Path(sys.argv[1]))
    else:
        main()
