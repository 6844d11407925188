"""Predicted and measured: operations and peak memory of every estimator, and the times that follow from them.

Speeds of the machine are measured in the same run, by a matrix product in float32 and in float64 and by
eigenvalues; nothing is fitted to the estimators. A ratio of predicted to measured time under 1 is time that
does not go into products and decompositions: elementwise work, and products too small to run at full speed.
"""

from functools import partial

import torch
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from common import heading, least_seconds, peak_bytes, table, training_step
from corrpo.costs import ModelShape, Workload, operations
from corrpo.costs.arithmetic import training_step as step_operations
from corrpo.costs.memory import memory
from corrpo.estimators import logit_gradient_norms

SHAPES = {
    "d = 256, 4 layers": (256, 704, 4),
    "d = 512, 8 layers": (512, 1408, 8),
    "d = 896, 4 layers": (896, 4864, 4),
}
LENGTHS = (128, 512)
TARGETS = 32
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


def speeds() -> tuple[float, float, float]:
    """Operations a second of products in float32 and float64, and of eigenvalues in float64."""
    narrow = torch.randn(1024, 1024)
    wide = narrow.double()
    gram = (wide @ wide.T)[:512, :512].contiguous()
    calls = {
        "narrow": lambda: narrow @ narrow,
        "wide": lambda: wide @ wide,
        "eigen": lambda: torch.linalg.eigvalsh(gram),
    }
    seconds = least_seconds(calls, repeats=5)
    return 2 * 1024**3 / seconds["narrow"], 2 * 1024**3 / seconds["wide"], 4 / 3 * 512**3 / seconds["eigen"]


def rows_of(name: str, length: int, rates: tuple[float, float, float]) -> list[list[str]]:
    model = model_of(*SHAPES[name])
    shape = ModelShape.from_config(model.config, weight_bytes=4)
    workload = Workload(length - TARGETS, TARGETS)
    ids = torch.randint(4096, (length,))

    def measured(estimator: str) -> None:
        logit_gradient_norms(model, ids, workload.positions, estimator=estimator)

    calls = {each: partial(measured, each) for each in ("own", "last", "exact")}
    seconds = least_seconds({STEP: training_step(model, ids), **calls}, repeats=2)
    model.zero_grad(set_to_none=True)
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
    rates = speeds()
    products, wide, eigen = rates
    rows = [row for name in SHAPES for length in LENGTHS for row in rows_of(name, length, rates)]
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
        print(
            f"\nSustained: {products / 1e9:.0f} GFLOP/s of float32 products, {wide / 1e9:.0f} of float64, "
            f"{eigen / 1e9:.1f} of eigenvalues; {torch.get_num_threads()} threads."
        )


if __name__ == "__main__":
    main()
