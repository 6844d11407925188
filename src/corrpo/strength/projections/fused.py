"""Parts of a module that computes several maps at once, and the classes whose layout is known.

Which rows of a fused weight make q, k and v is known from the model's code and not from its shapes: q|k|v in
a row and q|k|v head by head have the same sizes. So a layout is taken from the class that was read, never
guessed.
"""

from collections.abc import Sequence

import torch
from torch import nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.projections.projection import Projection


def is_class(module: nn.Module, *names: str) -> bool:
    """Whether a module is of one of transformers' own classes ("gpt2.GPT2Attention"), or derived from it.

    A class of the same name in code that comes with a checkpoint is another class: its layout was not read.
    """
    known = set()
    for name in names:
        model, kind = name.split(".")
        known.add((f"transformers.models.{model}.modeling_{model}", kind))
    return any((kind.__module__, kind.__name__) in known for kind in type(module).__mro__)


def split(module: nn.Module, widths: Sequence[int], groups: int = 1) -> list[Projection]:
    """The parts of a module whose output is `groups` times the parts of these widths, one after the other.

    `groups` is 1 where each part is in one piece, and the number of heads where the parts take turns by head.

    >>> both = nn.Linear(3, 8)
    >>> [part.features for part in split(both, (6, 2))]
    [slice(0, 6, None), slice(6, 8, None)]
    >>> [part.features.tolist() for part in split(both, (3, 1), groups=2)]
    [[0, 1, 2, 4, 5, 6], [3, 7]]
    """
    group_width = sum(widths)
    width = output_width(module)
    if width is not None and width != groups * group_width:
        raise UnsupportedModelError(
            f"a fused {type(module).__name__} has {width} output features, expected {groups} x "
            f"{' + '.join(map(str, widths))} from the layout of its family; report the model's class"
        )
    parts, start = [], 0
    for width in widths:
        if groups == 1:
            features = slice(start, start + width)
        else:
            by_group = torch.arange(groups * group_width).view(groups, group_width)
            features = by_group[:, start : start + width].flatten()
        parts.append(Projection(module, features))
        start += width
    return parts


def output_width(module: nn.Module) -> int | None:
    """The number of output features of a linear map, Conv1D and LoRA too; None if it does not say."""
    base = getattr(module, "base_layer", module)
    width = getattr(base, "out_features", getattr(base, "nf", None))
    return width if isinstance(width, int) else None


def attention(parts: Sequence[Projection], o: nn.Module) -> dict[str, Projection]:
    """The four projections of attention by name, from those of q, k and v."""
    q, k, v = parts
    return {"q": q, "k": k, "v": v, "o": Projection(o)}


def cross_attention(module: nn.Module) -> UnsupportedModelError:
    """The refusal of an attention whose keys come from another sequence."""
    return UnsupportedModelError(
        f"{type(module).__name__} reads another sequence here (add_cross_attention=True); expected a model "
        "of one sequence: load it without cross-attention"
    )
