"""Time and memory of each estimator, as ratios of one run, and their growth with length."""

import torch
from torch import Tensor, nn

from common import (
    LENGTH,
    TARGETS,
    VOCABULARY,
    benchmark_model,
    heading,
    least_seconds,
    peak_bytes,
    sequence,
    table,
    training_step,
)
from corrpo.estimators import exact, logit_gradient_norms
from corrpo.estimators.query import Query, attention_backend, left_as_found
from corrpo.projections import PROJECTIONS, find_attention_layers

ESTIMATORS = ("exact", "last", "own")


def vjp_alone(model: nn.Module, ids: Tensor, positions: range) -> None:
    """What `exact` does without its norms: the forwards and the vector-Jacobian products."""
    wanted = torch.tensor(positions)
    query = Query(model, ids[None], wanted, find_attention_layers(model), PROJECTIONS, "nuclear", "logit")
    with left_as_found(model), attention_backend(model, "eager", "exact", "'reference'"):
        for group, prefix in exact.groups(query):
            exact.vector_jacobian_products(query, wanted[group], prefix)


def speeds(vocabulary: int) -> None:
    """Times over that of one training step on the same tokens, and the ratios asked for."""
    model = benchmark_model(vocabulary)
    ids, positions = sequence(vocabulary=vocabulary)
    calls = {"forward + backward": training_step(model, ids)}
    for name in ESTIMATORS:
        calls[name] = lambda name=name: logit_gradient_norms(model, ids, positions, estimator=name)
    calls["VJPs of exact"] = lambda: vjp_alone(model, ids, positions)
    seconds = least_seconds(calls)
    few = positions[:: len(positions) // 6][:6]
    reference = least_seconds(
        {"reference": lambda: logit_gradient_norms(model, ids, few, estimator="reference")}, repeats=1
    )["reference"]
    seconds["reference"] = reference * len(positions) / len(few)
    step = seconds["forward + backward"]
    with heading(f"Speed: {LENGTH} tokens, {TARGETS} targets, vocabulary {vocabulary:,}"):
        rows = [
            [name, f"{time / step:.2f}", f"{time:.3f} s", f"{1e3 * time / TARGETS:.2f} ms"]
            for name, time in sorted(seconds.items(), key=lambda item: item[1])
        ]
        table(["what", "over forward + backward", "time", "per target"], rows)
        print()
        ratios = [
            ["reference / exact", f"{seconds['reference'] / seconds['exact']:.1f}", "at least 10"],
            ["exact / its VJPs", f"{seconds['exact'] / seconds['VJPs of exact']:.2f}", "at most 1.5"],
            ["own / forward + backward", f"{seconds['own'] / step:.2f}", "at most 0.5"],
            ["last / forward + backward", f"{seconds['last'] / step:.2f}", "at most 1.0"],
        ]
        table(["ratio", "measured", "goal"], ratios)
        print(f"\nreference: {len(few)} targets evenly spaced, times {len(positions) / len(few):.0f}.")


def memory_and_growth() -> None:
    """Peak memory and time against length, for 48 targets over the last three quarters of the tokens."""
    model = benchmark_model()
    rows = []
    for length in (64, 128, 256, 512):
        ids, positions = sequence(length, 3 * length // 4)
        positions = positions[:: len(positions) // 48]
        calls = {"forward + backward": training_step(model, ids)}
        for name in ESTIMATORS:
            calls[name] = lambda name=name, ids=ids, positions=positions: logit_gradient_norms(
                model, ids, positions, estimator=name
            )
        seconds = least_seconds(calls, repeats=2)
        model.zero_grad(set_to_none=True)
        peaks = {name: peak_bytes(call) for name, call in calls.items()}
        model.zero_grad(set_to_none=True)
        rows += [
            [
                str(length),
                name,
                f"{seconds[name] / seconds['forward + backward']:.2f}",
                f"{1e3 * seconds[name] / len(positions):.2f} ms",
                f"{peaks[name] / 2**20:.0f} MiB",
                f"{peaks[name] / peaks['forward + backward']:.2f}",
            ]
            for name in calls
        ]
    header = ["tokens", "what", "over fwd + bwd", "per target", "peak memory", "over fwd + bwd"]
    with heading("Growth with length: time and peak memory of tensors beside the weights"):
        table(header, rows)


def main() -> None:
    """Speed at two vocabularies, then growth."""
    speeds(VOCABULARY)
    speeds(1024)
    memory_and_growth()


if __name__ == "__main__":
    main()
