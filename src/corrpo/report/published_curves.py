"""The published curves of rho over training, to set beside one's own.

They are read off the first author's post and have no intervals. Its models, samples and settings are others
than those of any run here, so that only the shapes can be compared.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import polars as pl

SOURCE = 'the first author\'s post "The Entropy-Gradient Inversion", February 2026'
"""Where the published values are from."""

_MODEL_TYPES = "model_type"


@dataclass(frozen=True)
class PublishedCurve:
    """Spearman's rho over the training of one model, as published.

    Attributes:
        figure: "sft", "rl_zero" (pure RL) or "sft_then_rl".
        model: "llama-3.1-8b" or "qwen".
        stages: name of each stage, its steps as published (those of grpo_after_sft go on from the 8,000 of
            the SFT before), and rho at each step.
    """

    figure: str
    model: str
    stages: tuple[tuple[str, tuple[int, ...], tuple[float, ...]], ...]


@dataclass(frozen=True)
class PublishedModelType:
    """Spearman's rho of one type of model, as published.

    Attributes:
        model: "llama-3.1-8b" or "qwen".
        type: "base", "safety" or "reasoning".
        spearman: rho.
    """

    model: str
    type: str
    spearman: float


def published_curves() -> list[PublishedCurve]:
    """Every published curve over training, in the order of the data.

    >>> *(curve.figure for curve in published_curves() if curve.model == "qwen"),
    ('sft', 'rl_zero', 'sft_then_rl')
    """
    rows = _rows().filter(pl.col("figure") != _MODEL_TYPES)
    curves = []
    for (figure, model), curve in rows.group_by("figure", "model", maintain_order=True):
        stages = tuple(
            (str(stage), tuple(part["step"].to_list()), tuple(part["spearman"].to_list()))
            for (stage,), part in curve.group_by("stage", maintain_order=True)
        )
        curves.append(PublishedCurve(str(figure), str(model), stages))
    return curves


def published_model_types() -> list[PublishedModelType]:
    """Rho by type of model, in the order of the data.

    >>> [row.spearman for row in published_model_types() if row.type == "base"]
    [0.036, -0.171]
    """
    rows = _rows().filter(pl.col("figure") == _MODEL_TYPES)
    return [PublishedModelType(r["model"], r["stage"], r["spearman"]) for r in rows.iter_rows(named=True)]


@cache
def _rows() -> pl.DataFrame:
    schema = {
        "figure": pl.String,
        "model": pl.String,
        "stage": pl.String,
        "step": pl.Int64,
        "spearman": pl.Float64,
    }
    data = files("corrpo.report").joinpath("published_spearman.csv").read_bytes()
    return pl.read_csv(data, schema=schema)
