"""Random models and requests against `reference`, in float64: 20 each time, and 500 before a release.

    python -m pytest tests/estimators/test_fuzz.py -m nightly

A failure prints the case; `case(SEED)` builds it again. The bar is a relative 1e-5 of each norm, and 1e-7
of the largest norm of the same token in the same layer beneath that: a query that sees one key alone, or
nearly so, has a gradient of rounding only. `reference` runs SDPA where the family knows it: eager attention
takes its softmax in float32 in a float64 model too, which deep narrow models multiply past the bar.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.norms import NORMS
from corrpo.strength.projections import PROJECTIONS

RELATIVE, OF_LARGEST = 1e-5, 1e-7
VOCABULARY = 41
EVERY_TIME, NIGHTLY, PER_TEST = 20, 500, 25


@dataclass(frozen=True)
class Case:
    """A random model and what is asked of it.

    Attributes:
        seed: the case's own, and that of its weights.
        family: the prefix of the transformers classes.
        config: the settings of the model.
        padding: tokens of padding on the left and on the right.
        length: tokens without padding.
        positions: the tokens measured, among those without padding.
        request: layers, projections, norm and target.
    """

    seed: int
    family: str
    config: dict[str, Any]
    padding: tuple[int, int]
    length: int
    positions: list[int]
    request: dict[str, Any]

    def model(self) -> nn.Module:
        """The model in float64, with weights of a size at which nothing saturates."""
        text = "Text" if self.family == "Gemma3" else ""
        config = getattr(transformers, f"{self.family}{text}Config")(**self.config)
        model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                if parameter.dim() == 2:
                    parameter.copy_(noise / parameter.shape[1] ** 0.5)
                else:
                    norm = "norm" in name or ".ln_" in name
                    centre = float(norm and name.endswith("weight") and not self.family.startswith("Gemma"))
                    parameter.copy_(centre + 0.2 * noise)
        return model

    def sequence(self) -> tuple[Tensor, Tensor, Tensor]:
        """input_ids and attention_mask with padding, and the positions in them."""
        generator = torch.Generator().manual_seed(self.seed)
        left, right = self.padding
        ids = torch.zeros(left + self.length + right, dtype=torch.long)
        inside = slice(left, left + self.length)
        ids[inside] = torch.randint(1, VOCABULARY, (self.length,), generator=generator)
        mask = torch.zeros_like(ids)
        mask[inside] = 1
        return ids, mask, torch.tensor(self.positions) + left


def windows(draw: Random) -> dict[str, Any]:
    """Sliding windows in some layers of a family that has them."""
    if draw.random() < 0.4:
        return {}
    return {"sliding_window": draw.randint(2, 8)}


def qwen_windows(draw: Random) -> dict[str, Any]:
    window = windows(draw)
    return {**window, "use_sliding_window": bool(window), "max_window_layers": draw.randint(0, 2)}


def gemma(draw: Random) -> dict[str, Any]:
    return {
        "query_pre_attn_scalar": draw.choice([4, 8, 12]),
        "sliding_window": draw.randint(2, 8),
        "attn_logit_softcapping": draw.choice([None, 2.0, 30.0]),
        "final_logit_softcapping": draw.choice([None, 5.0, 30.0]),
        "attention_bias": draw.random() < 0.3,
    }


FAMILIES = {
    "Llama": lambda draw: {"attention_bias": draw.random() < 0.5, "mlp_bias": draw.random() < 0.5},
    "Mistral": windows,
    "Qwen2": qwen_windows,
    "Qwen3": lambda draw: {**qwen_windows(draw), "attention_bias": draw.random() < 0.5},
    "Gemma2": gemma,
    "Gemma3": gemma,
    "Olmo2": lambda draw: {"attention_bias": draw.random() < 0.5},
    "Phi3": windows,
    "GPTNeoX": lambda draw: {
        "attention_bias": draw.random() < 0.5,
        "use_parallel_residual": draw.random() < 0.5,
    },
    "GPT2": lambda draw: {"scale_attn_by_inverse_layer_idx": draw.random() < 0.3},
}
OWN_HEAD_WIDTH = ("Llama", "Mistral", "Qwen3", "Gemma2", "Gemma3")
"""Families whose heads need not divide the hidden width among them."""
MULTI_HEAD = ("GPTNeoX", "GPT2")
GPT2_NAMES = {
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}


def case(seed: int) -> Case:
    """The random case of a seed, always the same."""
    draw = Random(seed)
    family = draw.choice(list(FAMILIES))
    kv_heads, groups = draw.choice([1, 2, 3]), draw.choice([1, 1, 2, 4])
    heads = kv_heads * groups
    width = 2 * draw.randint(1, 8) if family != "GPTNeoX" else draw.choice([8, 16])  # a quarter is rotated
    own_width = family in OWN_HEAD_WIDTH and draw.random() < 0.7
    hidden = heads * (draw.choice([2, 4, 6, 10]) if own_width else width)
    layers = draw.randint(1, 4)
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": draw.choice([8, 24, 40]),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width,
        "max_position_embeddings": 64,
        "tie_word_embeddings": draw.random() < 0.5,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **FAMILIES[family](draw),
    }
    if family not in OWN_HEAD_WIDTH:
        del config["head_dim"]
    if family in MULTI_HEAD:
        del config["num_key_value_heads"]
    config = {GPT2_NAMES.get(name, name) if family == "GPT2" else name: config[name] for name in config}
    length = draw.choice([2, 3, *range(4, 25)])
    side, padding = draw.choice(["left", "right", "none"]), draw.randint(1, 6)
    some = draw.sample(range(layers), draw.randint(1, layers))
    return Case(
        seed=seed,
        family=family,
        config=config,
        padding=(padding * (side == "left"), padding * (side == "right")),
        length=length,
        positions=draw.sample(range(1, length), draw.randint(1, min(length - 1, 8))),
        request={
            "layers": draw.choice([None, [place - layers * draw.randint(0, 1) for place in some]]),
            "projections": tuple(draw.sample("qkvo", draw.randint(1, 4))),
            "norm": draw.choice([*NORMS, "nuclear", "nuclear"]),
            "target": draw.choice(["logit", "logprob"]),
        },
    )


def failures(which: Case) -> list[str]:
    """What does not agree with `reference`, a line each."""
    model = which.model()
    ids, mask, positions = which.sequence()

    def norms(estimator: str, projections=PROJECTIONS, **changes) -> Tensor:
        request = {**which.request, "projections": projections, **changes}
        return logit_gradient_norms(
            model, ids, positions, attention_mask=mask, estimator=estimator, **request
        )

    asked = which.request["projections"]
    of_own = [kind for kind in asked if kind in "qo"]
    truth, last = norms("reference"), norms("reference", layers=[-1])
    compared = [
        ("exact", norms("exact", asked), truth, asked),
        ("pruned", norms("pruned", asked, kept=which.length), truth, asked),
        ("last", norms("last", asked, layers=None), last, asked),
    ]
    if of_own:
        compared.append(("own", norms("own", of_own, layers=[-1]), last, of_own))
    lines = []
    for estimator, given, judged, projections in compared:
        expected = judged[:, :, [PROJECTIONS.index(kind) for kind in projections]]
        excess = (given - expected).abs() - OF_LARGEST * judged.amax(-1, keepdim=True)
        worst = float((excess / expected.abs().clamp_min(1e-300)).max())
        if not worst <= RELATIVE:
            lines.append(f"{estimator} is off by {worst:.1e} of the norm: {which}")
    return lines


@pytest.mark.parametrize("seed", range(EVERY_TIME))
def test_random_models_and_requests(seed):
    assert failures(case(seed)) == []


@pytest.mark.nightly
@pytest.mark.parametrize("start", range(EVERY_TIME, EVERY_TIME + NIGHTLY, PER_TEST))
def test_many_random_models_and_requests(start):
    result = [line for seed in range(start, start + PER_TEST) for line in failures(case(seed))]
    assert result == [], "\n".join(result)


def test_the_cases_cover_what_they_are_meant_to():
    cases = [case(seed) for seed in range(EVERY_TIME + NIGHTLY)]
    assert {case.family for case in cases} == set(FAMILIES)
    assert {case.request["norm"] for case in cases} == set(NORMS)
    assert min(case.length for case in cases) == 2
    assert any(case.padding[0] for case in cases)
    assert any(case.padding[1] for case in cases)
    assert any(case.config.get("attn_logit_softcapping") for case in cases)
    grouped = [case.config for case in cases if case.config.get("num_key_value_heads") == 1]
    assert any(config["num_attention_heads"] > 1 for config in grouped)
