"""`corrpo merge MODEL MODEL ... --output DIR`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merge models of one architecture by the weighted mean of their weights.

    corrpo merge out/sft/final out/grpo/final --output out/merged
    """

    models: Annotated[Positional[tuple[str, ...]], arg(metavar="MODEL ...")]
    """Two or more: local folders, .gguf files, names on the hub, or lab:FAMILY/KIND."""
    output: Path
    """Folder of the merged model, which must not exist."""
    weights: tuple[float, ...] = ()
    """What each model weighs, summing to 1; equal if not given."""


def run(options: Merge) -> None:
    """Merge, and print the folder."""
    from corrpo.training.merging import merge

    print(merge(options.models, options.output, weights=options.weights or None))
