"""Time and memory of each estimator, as ratios of one run, and their growth with length."""

import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from common import (
    LENGTH,
    TARGETS,
    benchmark_model,
    heading,
    least_seconds,
    qwen_half_billion,
    sequence,
    table,
    training_step,
)
from corrpo.strength.derivatives.differentiation_plan import plan_for
from corrpo.strength.derivatives.model_state import frozen_eval_mode
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.estimators import exact
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections.mixers import find_attention_layers
from corrpo.strength.spec import GradientSpec
from peak import peak_bytes

GROWTH = (64, 128, 256, 512, 1024, 2048, 4096)
_EXACT_UNTIL = 512
_TOLERANCE = 1e-2


def vjp_alone(model: nn.Module, ids: Tensor, positions: range) -> None:
    """What `exact` does without its norms: the forwards and the vector-Jacobian products."""
    wanted = torch.tensor(positions)
    query = GradientRequest(model, ids[None], wanted, find_attention_layers(model), GradientSpec())
    with frozen_eval_mode(model):
        plan = plan_for(query)
        with plan.attention(model):
            for part in exact.passes(query):
                for _ in plan.products(query, wanted[part.targets], part.prefix, part.keeps_graph):
                    pass


def activations_alone(model: nn.Module, ids: Tensor) -> Callable[[], None]:
    """One forward and one backward through activations alone, without the head: the floor of `own`."""
    decoder = model.get_decoder()  # pyright: ignore[reportCallIssue]
    embedded = model.get_input_embeddings()(ids[None]).detach().requires_grad_(True)  # pyright: ignore

    def run() -> None:
        with frozen_eval_mode(model):
            hidden = decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state
            torch.autograd.grad(hidden.sum(), embedded)

    return run


def speeds(name: str, model: nn.Module, targets: int, repeats: int, few: int) -> None:
    """Times over that of one training step on the same tokens, the ratios asked for, and peak memory."""
    vocabulary = model.config.vocab_size  # pyright: ignore
    ids, positions = sequence(LENGTH, targets, vocabulary)

    def estimate(which: str, **options: float) -> Callable[[], Tensor]:
        return partial(logit_gradient_norms, model, ids, positions, estimator=which, **options)

    calls = {
        "forward + backward": training_step(model, ids),
        "own": estimate("own"),
        "last": estimate("last"),
        "exact": estimate("exact"),
        f"exact, tolerance {_TOLERANCE:g}": estimate("exact", tolerance=_TOLERANCE),
        "VJPs of exact": lambda: vjp_alone(model, ids, positions),
        "activations alone": activations_alone(model, ids),
    }
    seconds = least_seconds(calls, repeats)
    model.zero_grad(set_to_none=True)
    some = positions[:: len(positions) // few][:few]
    slow = partial(logit_gradient_norms, model, ids, some, estimator="reference")
    seconds["reference"] = least_seconds({"": slow}, repeats=1)[""] * len(positions) / few
    peaks = {call_name: peak_bytes(call) for call_name, call in calls.items()} | {
        "reference": peak_bytes(slow)
    }
    model.zero_grad(set_to_none=True)
    step, floor = seconds["forward + backward"], seconds["activations alone"]
    with heading(f"Speed: {name}, {LENGTH} tokens, {targets} targets"):
        rows = [
            [
                call_name,
                f"{time / step:.2f}",
                f"{time / floor:.2f}",
                f"{1e3 * time / targets:.2f} ms",
                f"{peaks[call_name] / 2**20:.0f} MiB",
            ]
            for call_name, time in sorted(seconds.items(), key=lambda item: item[1])
        ]
        table(["what", "over fwd + bwd", "over activations alone", "per target", "peak memory"], rows)
        print()
        ratios = [
            ["reference / exact", seconds["reference"] / seconds["exact"], ""],
            ["exact / its VJPs", seconds["exact"] / seconds["VJPs of exact"], "at most 1.3"],
            ["own / forward + backward", seconds["own"] / step, "at most 0.4"],
            ["last / forward + backward", seconds["last"] / step, "at most 0.6"],
        ]
        table(["ratio", "measured", "goal"], [[what, f"{ratio:.2f}", goal] for what, ratio, goal in ratios])
        print(f"\nreference: {few} targets evenly spaced, times {len(positions) / few:.0f}.")


def growth() -> None:
    """Peak memory and time against length, for 48 targets over the last three quarters of the tokens."""
    model = benchmark_model()
    rows = []
    for length in GROWTH:
        ids, positions = sequence(length, 3 * length // 4)
        positions = positions[:: len(positions) // 48]
        names = ["last", "own", *(["exact"] if length <= _EXACT_UNTIL else [])]
        calls = {"forward + backward": training_step(model, ids)}
        for name in names:
            calls[name] = lambda name=name, ids=ids, positions=positions: logit_gradient_norms(
                model, ids, positions, estimator=name
            )
        seconds = least_seconds(calls, repeats=2 if length <= _EXACT_UNTIL else 1)
        model.zero_grad(set_to_none=True)
        peaks = {name: peak_bytes(call) for name, call in calls.items()}
        model.zero_grad(set_to_none=True)
        rows += [
            [
                f"{length:,}",
                name,
                f"{seconds[name] / seconds['forward + backward']:.2f}",
                f"{1e3 * seconds[name] / length:.2f} ms",
                f"{peaks[name] / 2**20:.0f} MiB",
                f"{peaks[name] / peaks['forward + backward']:.2f}",
            ]
            for name in calls
        ]
    header = ["tokens", "what", "over fwd + bwd", "per token", "peak memory", "over fwd + bwd"]
    with heading("Growth with length, d = 512: time and peak memory of tensors beside the weights"):
        table(header, rows)
        print("\n48 targets, so that a token of exact costs 48 / length of a target.")


def main() -> None:
    """Speed at two shapes, then growth; `speed.py small` leaves the larger shape out."""
    speeds("d = 512, 8 layers, vocabulary 32,000", benchmark_model(), TARGETS, repeats=3, few=6)
    if sys.argv[1:] != ["small"]:
        model = qwen_half_billion()
        speeds("Qwen2.5-0.5B (d = 896, 24 layers, 151,936)", model, 24, repeats=1, few=2)
        del model
    growth()


if __name__ == "__main__":
    main()
