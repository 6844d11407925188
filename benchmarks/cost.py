"""Predicted and measured: operations and peak memory of every estimator, and the times that follow from them.

Speeds of the machine are measured between the repetitions: matrix products in float32 and float64, and
eigenvalues. Nothing is fitted to the estimators. A ratio of predicted to measured time under 1 is time that
does not go into products and decompositions: elementwise work, and products too small to run at full speed.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from common import heading, least_seconds, table, training_step
from corrpo.strength.gradient_norms import logit_gradient_norms
from cost_model import ModelShape, Workload, operations
from cost_model.memory import memory
from cost_model.operations import training_step as step_operations
from peak import peak_bytes

SHAPES = {"d = 256, 4 layers": (256, 704, 4), "d = 512, 8 layers": (512, 1408, 8)}
LENGTHS = (128, 512)
TARGETS = 16
STEP = "forward + backward"


def model_of(width: int, inner: int, layers: int) -> nn.Module:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=4096,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    return Qwen2ForCausalLM(config).eval()


def speed_calls() -> dict[str, Callable[[], object]]:
    """Products in float32 and float64, and eigenvalues: what the speeds of the machine are measured by."""
    narrow = torch.randn(512, 512)
    wide = narrow.double()
    gram = (wide @ wide.T)[:256, :256].contiguous()
    return {
        "products": lambda: narrow @ narrow,
        "wide": lambda: wide @ wide,
        "eigenvalues": lambda: torch.linalg.eigvalsh(gram),
    }


def rows_of(name: str, length: int) -> list[list[str]]:
    model = model_of(*SHAPES[name])
    shape = ModelShape.from_config(model.config, weight_bytes=4)
    workload = Workload(length - TARGETS, TARGETS)
    ids = torch.randint(4096, (length,))

    def measured(estimator: str) -> None:
        logit_gradient_norms(model, ids, workload.positions, estimator=estimator)

    calls = {estimator: partial(measured, estimator) for estimator in ("own", "last", "exact")}
    seconds = least_seconds({**speed_calls(), STEP: training_step(model, ids), **calls}, repeats=2)
    model.zero_grad(set_to_none=True)
    counts = {"products": 2 * 512**3, "wide": 2 * 512**3, "eigenvalues": 4 / 3 * 256**3}
    rates = [count / seconds.pop(what) for what, count in counts.items()]
    print(f"{name}, {length} tokens: " + ", ".join(f"{rate / 1e9:.1f}" for rate in rates) + " GFLOP/s")
    rows = []
    for what, time in seconds.items():
        done = step_operations(shape, length) if what == STEP else operations(shape, workload, what)
        parts = zip((done.products, done.wide, done.decompositions), rates, strict=True)
        predicted = sum(count / rate for count, rate in parts)
        row = [name, str(length), what, f"{done.total / 1e9:.1f}", f"{predicted:.3f} s", f"{time:.3f} s"]
        row.append(f"{predicted / time:.2f}")
        if what in calls:
            peak = peak_bytes(calls[what])
            row += [f"{peak / 2**20:.0f} MiB", f"{memory(shape, workload, what).total / peak:.2f}"]
        rows.append(row + [""] * (9 - len(row)))
    return rows


def main() -> None:
    """Print the table."""
    print("Sustained: products in float32, in float64, eigenvalues\n")
    rows = [row for name in SHAPES for length in LENGTHS for row in rows_of(name, length)]
    print()
    with heading(f"Cost model: {TARGETS} targets"):
        header = [
            "model",
            "tokens",
            "what",
            "GFLOP",
            "predicted",
            "measured",
            "ratio",
            "peak memory",
            "ratio",
        ]
        table(header, rows)


if __name__ == "__main__":
    main()
