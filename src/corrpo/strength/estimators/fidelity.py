"""How estimators that are not `exact` were found to rank tokens as it does: the one place of these numbers.

Spearman's rank correlation over tokens of responses of the models themselves, on real weights. No torch is
needed, so that --help can tell them.
"""

OWN = (
    "Spearman correlation with exact over tokens of the model's own responses to gsm_symbolic problems: all "
    "projections 0.61 on Gemma 3 270M (256 tokens) and 0.84 on Qwen2.5-Coder-0.5B-Instruct (64 tokens); q "
    "and o of the upper half of the layers 0.74 and 0.87."
)
LAST = (
    "Spearman correlation with exact over tokens of the model's own responses to gsm_symbolic problems, all "
    "projections: 0.35 on Gemma 3 270M (256 tokens) and 0.50 on Qwen2.5-Coder-0.5B-Instruct (64 tokens)."
)
PRUNED = (
    "Spearman correlation with exact over tokens of the model's own responses to gsm_symbolic problems, mean "
    "of all layers and projections, 32 kept: 0.98 on Qwen2.5-Coder-0.5B-Instruct (40 tokens; Spearman's rho "
    "with entropy moved by 0.002) and 0.97 on Gemma 3 270M (48 tokens; by 0.004)."
)
FIDELITY = {"pruned": PRUNED, "last": LAST, "own": OWN}
"""By the name of the estimator."""


def told() -> str:
    """All of them in one paragraph.

    >>> told()[:34]
    'Measured fidelity. pruned: Spearma'
    """
    return "Measured fidelity. " + " ".join(f"{name}: {text}" for name, text in FIDELITY.items())
