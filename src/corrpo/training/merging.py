"""Merge models of one architecture by the weighted mean of their weights.

The arithmetic mean in weight space (a "model soup"), parameter by parameter and in float64, with one weight
for each model. It is worth something where the models were fine-tuned from the same start; that they were is
not checked.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from corrpo.errors import BadInputError
from corrpo.jobs.files import write_json
from corrpo.jobs.versions import library_versions
from corrpo.models.description import describe_model
from corrpo.models.loading import load_model
from corrpo.models.whole_folder import whole_folder

RECORD = "merge.json"


def merge(models: Sequence[str], output: Path | str, *, weights: Sequence[float] | None = None) -> Path:
    """Write the weighted mean of some models, with the tokenizer of the first.

    Args:
        models: two or more: local folders, GGUF files, names on the hub, or lab:FAMILY/KIND.
        output: a folder that is empty or does not exist yet; written whole or not at all. It gets model,
            tokenizer and merge.json, which names the models, digests of their weights, and what each weighs.
        weights: of each model, summing to 1; equal if not given.

    Returns:
        `output`.

    Raises:
        BadInputError: fewer than two models, weights that do not go with them, or models whose classes or
            weights (names, shapes, dtypes) differ; names what differs.
        UnsupportedModelError: not a causal LM.
        OutputFolderError: there is something at `output`, or it cannot be written to.
    """
    shares = _shares(models, weights)
    output = Path(output)
    with whole_folder(output) as folder:
        _write_merged(models, shares, folder)
    return output


def _write_merged(models: Sequence[str], shares: Sequence[float], folder: Path) -> None:
    loaded = [load_model(name, device="cpu") for name in models]
    merged, tokenizer = loaded[0]
    record = [
        {"model": name, "weight": share, "digest": describe_model(model, name, None)["digest"]}
        for name, share, (model, _) in zip(models, shares, loaded, strict=True)
    ]
    states = [model.state_dict() for model, _ in loaded]
    for name, (model, _), state in zip(models[1:], loaded[1:], states[1:], strict=True):
        _check_alike(models[0], merged, name, model, states[0], state)
    merged.load_state_dict(_mean(states, shares))
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / RECORD, {"schema_version": 1, "models": record, "versions": library_versions()})


def _shares(models: Sequence[str], weights: Sequence[float] | None) -> list[float]:
    if len(models) < 2:
        raise BadInputError(f"{len(models)} models to merge; expected two or more")
    shares = [1 / len(models)] * len(models) if weights is None else list(weights)
    if len(shares) != len(models) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise BadInputError(f"weights {shares}: expected {len(models)}, one for each model, that sum to 1")
    return shares


def _check_alike(
    first: str, model: Any, name: str, other: Any, state: dict[str, Any], against: dict[str, Any]
) -> None:
    if type(model) is not type(other):
        raise BadInputError(
            f"{first} is a {type(model).__name__} and {name} a {type(other).__name__}; models to merge are "
            "of one class"
        )
    for key in sorted({*state, *against}):
        one, two = _form(state.get(key)), _form(against.get(key))
        if one != two:
            raise BadInputError(f"{key} is {one} in {first} and {two} in {name}: these cannot be averaged")


def _form(tensor: Any) -> str:
    return "missing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.")


def _mean(states: Sequence[dict[str, Any]], shares: Sequence[float]) -> dict[str, Any]:
    """The weighted mean of what is floating point; the rest is that of the first."""
    mean = dict(states[0])
    for key, first in states[0].items():
        if first.is_floating_point():
            stacked = torch.stack([state[key].double() for state in states], dim=-1)
            mean[key] = (stacked @ stacked.new_tensor(shares)).to(first.dtype)
    return mean
