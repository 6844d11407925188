"""One GPU in a few minutes: right on CUDA, and fast at the shape of Qwen2.5-7B in bfloat16.

    PYTHONPATH=benchmarks python benchmarks/gpu.py [--lengths 512 1024 2048 4096]

First the estimators on a lab model on the GPU beside the CPU in float32, then the time of a target by
`exact`, `pruned` and `own` on random weights, its ratio to that of `exact`, and the peak memory of each.
`--device cpu --tiny` tries the script itself where there is no GPU.
"""

import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from common import heading, table
from corrpo import load_model, logit_gradient_norms

ESTIMATORS: dict[str, tuple[int, dict[str, Any]]] = {
    "exact": (4, {"estimator": "exact"}),
    "pruned-32": (32, {"estimator": "pruned", "kept": 32}),
    "pruned-8": (32, {"estimator": "pruned", "kept": 8}),
    "own": (256, {"estimator": "own"}),
}
"""Targets of each, so many that the forward pass does not decide the time, and its arguments."""


def seven_billion(device: str, tiny: bool) -> Qwen2ForCausalLM:
    """The shape of Qwen2.5-7B, bfloat16, random weights; four small layers of it if tiny."""
    config = Qwen2Config(
        vocab_size=1_000 if tiny else 152_064,
        hidden_size=64 if tiny else 3584,
        intermediate_size=128 if tiny else 18_944,
        num_hidden_layers=4 if tiny else 28,
        num_attention_heads=4 if tiny else 28,
        num_key_value_heads=2 if tiny else 4,
        max_position_embeddings=8192,
        dtype=torch.bfloat16,
    )
    with torch.device(device):
        return Qwen2ForCausalLM(config).bfloat16().eval()


def agreement(device: str) -> list[list[str]]:
    """The largest relative difference of a norm on the device from that on the CPU, by estimator."""
    rows = []
    ids = torch.arange(40) % 30 + 3
    models = [load_model("lab:qwen2/reasoning", device=on, dtype="float32")[0] for on in ("cpu", device)]
    for name, (_, arguments) in ESTIMATORS.items():
        host, other = (
            logit_gradient_norms(model, ids.to(on), range(20, 40), **arguments).cpu()
            for model, on in zip(models, ("cpu", device), strict=True)
        )
        rows.append([name, f"{((host - other).abs() / host.abs().amax()).max().item():.1e}"])
    return rows


def timed(call: Callable[[], Tensor], device: str) -> tuple[float, float]:
    """Seconds of the quicker of two runs after one that warms up, and the peak memory in GiB (CUDA alone)."""
    best, cuda = float("inf"), device.startswith("cuda")
    for number in range(3):
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        call().cpu()
        best = min(best, time.perf_counter() - start) if number else best
    return best, torch.cuda.max_memory_allocated() / 2**30 if cuda else float("nan")


def speeds(device: str, lengths: list[int], tiny: bool) -> list[list[str]]:
    """A row per length and estimator."""
    model, rows = seven_billion(device, tiny), []
    for length in lengths:
        ids = torch.randint(1_000, (length,), generator=torch.Generator().manual_seed(0)).to(device)
        exact = 0.0
        for name, (count, arguments) in ESTIMATORS.items():
            targets = range(length - min(count, length // 2), length)
            seconds, memory = timed(
                lambda targets=targets, arguments=arguments, ids=ids: logit_gradient_norms(
                    model, ids, targets, **arguments
                ),
                device,
            )
            each = seconds / len(targets)
            exact = exact or each
            rows.append(
                [f"{length:,}", name, f"{1000 * each:.1f} ms", f"{exact / each:.1f}", f"{memory:.1f} GiB"]
            )
            print(*rows[-1], flush=True)
    return rows


def main() -> None:
    """Both tables."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    options = parser.parse_args()
    with heading("On the device beside the CPU, float32"):
        table(["estimator", "largest difference / largest norm"], agreement(options.device))
    rows = speeds(options.device, options.lengths, options.tiny)
    with heading("The shape of Qwen2.5-7B, bfloat16"):
        table(["tokens", "estimator", "time a target", "exact / this", "peak memory"], rows)


if __name__ == "__main__":
    main()
