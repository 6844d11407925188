"""How well `own` and `last` rank tokens like `exact`, per projection, on lab models and random ones."""

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import heading, table
from corrpo.lab import FAMILIES, KINDS, checkpoint, sample_set
from corrpo.models.generation.backends.transformers import generate
from corrpo.samples import encode_prompt, load_samples
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections import PROJECTIONS
from problems import PROBLEMS

RESPONSES = 12


def lab_sequences(model: nn.Module, tokenizer) -> list[tuple[Tensor, range]]:
    """Sequences and response positions of the model's own answers to the reasoning samples."""
    samples = load_samples(sample_set("reasoning"))[:RESPONSES]
    prompts = [encode_prompt(sample, tokenizer) for sample in samples]
    written = generate(model, tokenizer, prompts, max_new_tokens=100)
    pairs = zip(prompts, written, strict=True)
    return [
        (torch.tensor(prompt + answer.ids), range(len(prompt), len(prompt) + len(answer.ids)))
        for prompt, answer in pairs
    ]


def agreement(model: nn.Module, sequences: list[tuple[Tensor, range]]) -> list[str]:
    """Spearman over all tokens with `exact`: own, then last, for q, k, v, o, q and o, all.

    A token's strength is the mean over layers of the projection, or over layers and projections.
    """
    norms = {
        name: torch.cat([logit_gradient_norms(model, ids, where, estimator=name) for ids, where in sequences])
        for name in ("exact", "own", "last")
    }

    def rho(x: Tensor, y: Tensor) -> str:
        return f"{spearmanr(x, y).statistic:.2f}"

    exact = norms["exact"].mean(1)
    cells = []
    for name in ("own", "last"):
        strength = norms[name].mean(1)
        cells += [rho(strength[:, i], exact[:, i]) for i in range(len(PROJECTIONS))]
        cells += [rho(strength[:, [0, 3]].mean(1), exact.mean(1)), rho(strength.mean(1), exact.mean(1))]
    return cells


def main() -> None:
    """A row per lab checkpoint, and one per family of random models."""
    rows = []
    for family in FAMILIES:
        for kind in KINDS:
            folder = checkpoint(family, kind)
            model = AutoModelForCausalLM.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            rows.append([f"lab {family} {kind}", *agreement(model, lab_sequences(model, tokenizer))])
    seen = set()
    for problem in PROBLEMS:
        if problem.family in seen or problem.padding or {"exact", "last", "own"} - set(problem.fits):
            continue
        seen.add(problem.family)
        sequences = [(problem.sequence(seed)[0], range(1, 22)) for seed in range(RESPONSES)]
        rows.append([f"random {problem.name}", *agreement(problem.model(), sequences)])
    columns = [*PROJECTIONS, "q, o", "all"]
    header = ["model", *(f"own {c}" for c in columns), *(f"last {c}" for c in columns)]
    with heading("Rank agreement with `exact` (Spearman over tokens)"):
        table(header, rows)
        print("\nColumns q, k, v, o compare the means over layers of that projection; 'q, o' and 'all'")
        print("compare the mean over those with the strength of `exact`, over all layers and projections.")


if __name__ == "__main__":
    main()
