"""What would be measured in a model, as plain rows: one per projection of each kind of layer.

Layers whose mixers hold the same projections of the same sizes are one kind. Nothing but shapes is read, so a
model without weights, built on torch's meta device, will do (`corrpo.models.loading.load_skeleton`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from corrpo.strength.projections.mixers import find_mixers
from corrpo.strength.projections.projection import MixerLayer, Projection


@dataclass(frozen=True)
class ListedProjection:
    """One projection of one kind of layer.

    Attributes:
        layers: "0-27" or "0, 2", numbered among the layers that hold these projections, with others or alone,
            as `layers` of a measurement of them numbers them.
        path: module path of the mixer, * for the numbers.
        mixer: class of the mixer.
        projection: the name by which it is measured.
        module: where it is in the mixer, and its class.
        d_out: output features of the projection itself.
        d_in: input features.
        share: "all", or the output features of the module that belong to the projection.
    """

    layers: str
    path: str
    mixer: str
    projection: str
    module: str
    d_out: int
    d_in: int
    share: str


def list_projections(model: nn.Module) -> list[ListedProjection]:
    """Every projection that corrpo can measure, kind of layer by kind of layer, in the order of the forward.

    Raises:
        UnsupportedModelError: no mixer is recognised.

    >>> import torch
    >>> from transformers import AutoModelForCausalLM, LlamaConfig
    >>> with torch.device("meta"):
    ...     model = AutoModelForCausalLM.from_config(LlamaConfig(hidden_size=64, num_attention_heads=4))
    >>> q, k, v, o = list_projections(model)
    >>> q.layers, q.path, q.projection, q.module, q.d_out, q.d_in, q.share
    ('0-31', 'model.layers.*.self_attn', 'q', 'q_proj (Linear)', 64, 64, 'all')
    """
    mixers = find_mixers(model)
    kinds: dict[tuple[ListedProjection, ...], list[MixerLayer]] = {}
    for mixer in mixers:
        kinds.setdefault(tuple(_described(mixer)), []).append(mixer)
    listed = []
    for rows, alike in kinds.items():
        names, own = set(alike[0].projections), {mixer.index for mixer in alike}
        holders = [mixer for mixer in mixers if names <= set(mixer.projections)]
        numbers = [number for number, mixer in enumerate(holders) if mixer.index in own]
        listed += [replace(row, layers=ranges(numbers)) for row in rows]
    return listed


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers with neighbours folded.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def share_of_rows(features: slice | Tensor | None, width: int) -> str:
    """Which output features of a module of `width` belong to a projection, in words.

    >>> import torch
    >>> share_of_rows(None, 12), share_of_rows(slice(0, 4), 12)
    ('all', 'rows 0-3 of 12')
    >>> share_of_rows(torch.tensor([2, 3, 8, 9]), 12)
    'blocks of 2 rows from row 2, every 6, of 12'
    >>> share_of_rows(torch.tensor([0, 5, 6]), 12)
    '3 rows of 12: 0, 5-6'
    """
    if features is None:
        return "all"
    rows = _indices(features, width)
    starts = [row for i, row in enumerate(rows) if i == 0 or row != rows[i - 1] + 1]
    if len(starts) == 1:
        return f"rows {rows[0]}-{rows[-1]} of {width}"
    size, steps = len(rows) // len(starts), {b - a for a, b in pairwise(starts)}
    if len(steps) == 1 and rows == [start + i for start in starts for i in range(size)]:
        return f"blocks of {size} rows from row {starts[0]}, every {steps.pop()}, of {width}"
    return f"{len(rows)} rows of {width}: {ranges(rows)}"


def _described(mixer: MixerLayer) -> list[ListedProjection]:
    """The row of each projection, for any number of the layer."""
    path = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", mixer.name)
    listed = []
    for name, projection in mixer.projections.items():
        width, d_in = _shape(projection)
        rows = projection.features
        listed.append(
            ListedProjection(
                layers="",
                path=path,
                mixer=type(mixer.mixer).__name__,
                projection=name,
                module=_place(mixer.mixer, projection.module),
                d_out=width if rows is None else len(_indices(rows, width)),
                d_in=d_in,
                share=share_of_rows(rows, width),
            )
        )
    return listed


def _indices(rows: slice | Tensor, width: int) -> list[int]:
    return list(range(width))[rows] if isinstance(rows, slice) else rows.tolist()


def _place(mixer: nn.Module, module: nn.Module) -> str:
    names = [name for name, child in mixer.named_modules() if child is module]
    return f"{names[0] if names else '?'} ({type(module).__name__})"


def _shape(projection: Projection) -> tuple[int, int]:
    """d_out and d_in of the module."""
    base = getattr(projection.module, "base_layer", projection.module)
    weight: Tensor = base.weight  # pyright: ignore[reportAssignmentType]
    rows, columns = weight.shape
    return (columns, rows) if isinstance(base, Conv1D) else (rows, columns)
