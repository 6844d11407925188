"""Accuracy of `exact` and `last` against `reference`, over the shared problem list (tests/problems.py)."""

import torch
from scipy.stats import spearmanr
from torch import Tensor

from common import heading, table
from corrpo.strength.gradient_norms import logit_gradient_norms
from problems import PROBLEMS


def largest_error(value: Tensor, truth: Tensor) -> float:
    """The largest relative difference over tokens, layers and projections."""
    return ((value.double() - truth.double()).abs() / truth.double().abs()).max().item()


def main() -> None:
    """The largest relative error per problem and dtype, and the rank agreement of bfloat16 weights."""
    rows = []
    for problem in PROBLEMS:
        if "exact" not in problem.fits:
            continue
        estimators = [name for name in ("reference", "exact", "last") if name in ("reference", *problem.fits)]
        ids, mask, positions = problem.sequence()
        cells = [problem.name]
        for dtype in (torch.float64, torch.float32):
            model = problem.model(dtype)
            norms = {
                name: logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator=name)
                for name in estimators
            }
            cells.append(f"{largest_error(norms['exact'], norms['reference']):.0e}")
            last = norms.get("last")
            error = None if last is None else largest_error(last, norms["reference"][:, -1:])
            cells.append("refused" if error is None else f"{error:.0e}")
        every = (mask.cumsum(0) * mask > 1).nonzero()[:, 0]
        strength = [
            logit_gradient_norms(problem.model().to(dtype), ids, every, attention_mask=mask).mean((1, 2))
            for dtype in (torch.float32, torch.bfloat16)
        ]
        cells.append(f"{spearmanr(*strength).statistic:.3f}")
        rows.append(cells)
    with heading("Accuracy: largest relative error over tokens, layers and projections"):
        header = ["problem", "exact f64", "last f64", "exact f32", "last f32", "bf16 rank agreement"]
        table(header, rows)
        print(
            "\nBars: 1e-5 in float64, 1e-3 in float32. The last column is the Spearman correlation of token"
        )
        print("strengths under bfloat16 weights with those under float32.")


if __name__ == "__main__":
    main()
