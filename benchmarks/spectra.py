"""Nuclear norms: time of each way to one, and how often a low rank is enough, on real gradients by length."""

import torch
from torch import Tensor

from common import benchmark_model, heading, least_seconds, sequence, table
from corrpo.strength.derivatives.differentiation_plan import plan_for
from corrpo.strength.derivatives.model_state import frozen_eval_mode
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.norms.certified import certified_nuclear_norm
from corrpo.strength.norms.factored import product_norm, second_factor
from corrpo.strength.norms.newton_schulz import newton_schulz
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_layers
from corrpo.strength.spec import GradientSpec

TOLERANCES = (1e-1, 1e-2, 1e-3)
OTHERS = (*(f"{tolerance:g}" for tolerance in TOLERANCES), "products")
TARGETS = 8
LAYERS = (0, 3, 7)


def gradients(length: int) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
    """Deltas [8, t, d_out] and the factor [t, r] of the last targets, by layer and projection."""
    model = benchmark_model(1024)
    ids, positions = sequence(length, TARGETS, 1024)
    wanted = torch.tensor(positions)
    query = GradientRequest(model, ids[None], wanted, find_layers(model, PROJECTIONS), GradientSpec())
    plan, pairs = plan_for(query), {}
    with frozen_eval_mode(model), plan.attention(model):
        for product in plan.products(query, wanted, length - 1, True):
            if product.layer in LAYERS:
                for kind, at in enumerate(product.record):
                    factor = second_factor(at.inputs[0].detach(), "nuclear")
                    pairs[product.layer, PROJECTIONS[kind]] = product.deltas[kind][:, 0].clone(), factor
    return pairs


def times(length: int) -> list[list[str]]:
    """A row for each layer and projection: milliseconds per norm, and certified over exact."""
    rows = []
    for (layer, kind), (delta, factor) in sorted(gradients(length).items()):
        calls = {"exact": lambda delta=delta, factor=factor: product_norm(delta, factor)}
        for tolerance in TOLERANCES:
            calls[f"{tolerance:g}"] = lambda delta=delta, factor=factor, tolerance=tolerance: (
                certified_nuclear_norm(delta, factor, tolerance)
            )
        if length <= 256:
            small = delta.mT @ factor
            calls["products"] = lambda small=small: newton_schulz(small)
        seconds = least_seconds(calls, repeats=2)
        exact_time = seconds["exact"]
        ratios = [f"{seconds[name] / exact_time:.2f}" if name in seconds else "-" for name in OTHERS]
        side = min(delta.shape[-1], factor.shape[-1])
        per_norm = f"{1e3 * exact_time / len(delta):.2f} ms"
        rows.append([str(length), f"{layer} {kind}", str(side), per_norm, *ratios])
    return rows


def main() -> None:
    """One table over three lengths."""
    header = ["tokens", "layer", "side", "exact", *(f"{name} over exact" for name in OTHERS)]
    with heading("Nuclear norms: per norm by eigenvalues, and other ways as multiples of it (d = 512)"):
        table(header, [row for length in (128, 256, 512) for row in times(length)])
        print("\n0.1, 0.01, 0.001: certified within this relative error. products: by float32 matrix")
        print("products alone (Newton-Schulz), which is for GPUs.")


if __name__ == "__main__":
    main()
