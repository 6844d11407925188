"""Whether `bf16: true` on a CPU moves the reward of CorR-PO: `python benchmarks/fidelity/products.py MODEL`.

Rollouts of one model, a group a problem as in training, measured by the default reward of CorR-PO with
matrix products of float32 factors and of factors rounded to bfloat16.
"""

from argparse import ArgumentParser

import numpy as np
from lengths import SAMPLES
from scipy.stats import spearmanr

from common import heading, table
from corrpo import load_model
from corrpo.lab import sample_location
from corrpo.models.generation.backends.transformers import generate
from corrpo.models.matrix_products import bfloat16_products, float32_products, has_bfloat16
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.rollouts import RolloutMeter
from corrpo.samples import encode_prompt, load_samples


def main() -> None:
    """Draw the rollouts, measure them twice and print the table."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--samples", default=str(SAMPLES), help="prompts (JSONL), the first ones taken")
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--rollouts", type=int, default=4, help="of a group")
    parser.add_argument("--tokens", type=int, default=160, help="of a rollout at most")
    options = parser.parse_args()
    if not has_bfloat16():
        parser.error("this CPU has no bfloat16 (avx512_bf16 or amx_bf16 in lscpu)")
    model, tokenizer = load_model(options.model, device="cpu", dtype="float32")
    samples = load_samples(sample_location(options.samples))[: options.groups]
    prompts = [encode_prompt(sample, tokenizer) for sample in samples for _ in range(options.rollouts)]
    answers = generate(model, tokenizer, prompts, max_new_tokens=options.tokens)
    completions = [list(answer.ids) for answer in answers]
    rhos = []
    for products in (float32_products, bfloat16_products):
        with products():
            rhos.append(
                RolloutMeter(model, InversionSettings())(model, prompts, completions).rho.cpu().numpy()
            )
    grouped = np.array(rhos).reshape(2, -1, options.rollouts)
    of_problem = grouped - np.nanmean(grouped, axis=2, keepdims=True)
    rows = []
    for name, (exact, rounded) in (("rho", grouped), ("rho less the mean of its group", of_problem)):
        there = np.isfinite(exact) & np.isfinite(rounded)
        away = np.abs(rounded - exact)[there]
        agreement = spearmanr(exact[there], rounded[there]).statistic
        spread = np.std(exact[there])
        rows.append(
            [
                name,
                str(there.sum()),
                f"{agreement:.4f}",
                f"{away.mean():.4f}",
                f"{away.max():.4f}",
                f"{spread:.3f}",
            ]
        )
    with heading("The reward of CorR-PO with products of bfloat16, beside float32"):
        table(["", "rollouts", "Spearman of the two", "mean distance", "largest", "standard deviation"], rows)


if __name__ == "__main__":
    main()
