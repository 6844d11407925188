"""`corrpo merge MODEL MODEL ... --output DIR`."""

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg

from corrpo.cli.printing import Output, Printed


@dataclass(frozen=True, kw_only=True)
class Merge(Printed):
    """Merge models of one architecture by the weighted mean of their weights.

    corrpo merge out/sft/final out/grpo/final --output out/merged
    """

    models: Annotated[
        Positional[tuple[str, ...]], arg(metavar="MODEL ...", help_behavior_hint="(two or more)")
    ]
    """Local folders, .gguf files, names on the hub, or lab:FAMILY/KIND."""
    output: Output
    """Folder of the merged model, which must not exist."""
    weights: tuple[float, ...] = ()
    """What each model weighs, summing to 1; equal if not given."""


def run(options: Merge) -> dict[str, Any]:
    """Merge, and print the folder."""
    from corrpo.training.merging import merge

    folder = merge(options.models, options.output, weights=options.weights or None)
    print(folder)
    return {"model": str(folder)}
