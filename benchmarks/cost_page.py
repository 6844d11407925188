"""The figures and the computed tables of docs/COST.md: `python benchmarks/cost_page.py docs/cost`.

Nothing is measured here: every number follows from shapes and from the assumed speeds of `H100`.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from transformers import DeepseekV3Config, LlamaConfig, Qwen2Config

from common import table
from corrpo.measurement.entropy_strength_figure import power_of_ten
from corrpo.report.plotting.drawing import Drawing, numbers_table
from corrpo.report.plotting.figure_style import OTHER_COLOURS, figure_style
from cost_model import ModelShape, Workload
from cost_model.cluster import Cost, Setting, cost, gpus_needed, total_seconds

PROMPT, SAMPLES = 256, 500
LENGTHS = (1024, 8192, 32_768)
GPUS = (1, 8, 64, 1000)
SETTING = Setting(rank=256)
WAYS = {
    "own": ("own", None, None),
    "last": ("last", None, None),
    "exact, 64 tokens": ("exact", 64, None),
    "exact, 64 tokens, upper quarter": ("exact", 64, 4),
    "exact, all tokens": ("exact", None, None),
}


def models() -> list[ModelShape]:
    """Three published shapes; the mixture of experts in the 8 bits that its weights come in."""
    qwen = Qwen2Config(
        vocab_size=152_064,
        hidden_size=3584,
        intermediate_size=18_944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        tie_word_embeddings=False,
    )
    llama = LlamaConfig(
        vocab_size=128_256,
        hidden_size=8192,
        intermediate_size=28_672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
    )
    return [
        ModelShape.from_config(qwen, "Qwen2.5-7B"),
        ModelShape.from_config(llama, "Llama-70B"),
        ModelShape.from_config(DeepseekV3Config(), "DeepSeek-V3, 8 bits", weight_bytes=1),
    ]


def costs_of(shape: ModelShape, length: int, way: str) -> tuple[Cost, int] | None:
    """The cost of one response and the GPUs that share the weights; None where it does not fit."""
    estimator, targets, part = WAYS[way]
    layers = None if part is None else len(shape.blocks) // part
    workload = Workload(PROMPT, length, targets, layers)
    group = gpus_needed(shape, workload, estimator, setting=SETTING)
    return (
        None if group is None else (cost(shape, workload, estimator, sharded=group, setting=SETTING), group)
    )


def duration(seconds: float) -> str:
    """Three sizes of units.

    >>> duration(5.0), duration(7200.0), duration(1e6)
    ('5 s', '2 h', '12 d')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (unit == "h" and seconds >= size):
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s" if seconds >= 1 else f"{seconds:.2g} s"


def rows_of(shape: ModelShape, length: int, way: str) -> list[str]:
    costs = costs_of(shape, length, way)
    if costs is None:
        return [shape.name, f"{length:,}", way, "does not fit", *[""] * (4 + len(GPUS))]
    one, group = costs
    times = [duration(total_seconds(one, SAMPLES, gpus, group)) if gpus >= group else "–" for gpus in GPUS]
    return [
        shape.name,
        f"{length:,}",
        way,
        str(group),
        f"{one.memory / 1e9:.0f} GB",
        f"{one.operations.total / 1e12:,.0f}",
        one.bottleneck,
        duration(one.seconds),
        *times,
    ]


def figure(shapes: list[ModelShape]) -> Drawing:
    """GPU time of one response against its length, one panel for each model."""
    lengths = [512, 1024, 2048, 4096, 8192, 16_384, 32_768]
    numbers = []
    with figure_style("cost"):
        drawn = Figure(figsize=(7.2, 2.5), layout="constrained")
        panels = drawn.subplots(1, len(shapes), sharey=True)
        for panel, shape in zip(panels, shapes, strict=True):
            for way, colour in zip(list(WAYS)[:4], OTHER_COLOURS, strict=False):
                points = [(length, costs_of(shape, length, way)) for length in lengths]
                fitting = [(length, costs[0].seconds) for length, costs in points if costs]
                numbers += [
                    {"series": f"{shape.name}, {way}", "x": float(x), "value": y, "source": "computed"}
                    for x, y in fitting
                ]
                if fitting:
                    panel.plot(
                        *zip(*fitting, strict=True), color=colour, marker="o", markersize=2.5, label=way
                    )
            panel.set(xscale="log", yscale="log", xlabel="tokens of the response", title=shape.name)
            panel.set_xticks([1024, 8192, 32_768], ["1k", "8k", "32k"])
            panel.minorticks_off()
            panel.yaxis.set_major_formatter(FuncFormatter(power_of_ten))
        panels[0].set_ylabel("GPU seconds a response")
        handles, labels = panels[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=4)
    return Drawing("cost", drawn, numbers_table(numbers))


def main() -> None:
    """Write the figure and its numbers, and print the table."""
    folder = Path(sys.argv[1])
    shapes = models()
    drawing = figure(shapes)
    drawing.write(folder / "cost.svg")
    drawing.write(folder / "cost.parquet")
    header = ["model", "tokens", "way", "GPUs a copy", "a GPU", "TFLOP", "bound by", "one response"]
    rows = [rows_of(shape, length, way) for shape in shapes for length in LENGTHS for way in WAYS]
    table([*header, *[f"{gpus:,} GPU{'s' if gpus > 1 else ''}" for gpus in GPUS]], rows)


if __name__ == "__main__":
    main()
