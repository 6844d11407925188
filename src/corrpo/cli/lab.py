"""`corrpo lab build`: train the tiny models of the lab and write its sample sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corrpo.cli.printing import Output, Printed
from corrpo.lab import FAMILIES, KINDS


@dataclass(frozen=True)
class LabBuild(Printed):
    """Train the tiny models of the lab again from a seed, and write its sample sets."""

    output: Output
    """Folder for checkpoints, sample sets and the record of the build; an unfinished build goes on."""
    seed: int = 0
    """Seed of the data and the initial weights, 0 or more."""
    family: tuple[str, ...] = FAMILIES
    """Model families to train: qwen2, llama, and mamba2, which has no attention and does not ship."""
    kind: tuple[str, ...] = KINDS
    """Kinds to train: base, safety, reasoning. The base is trained in any case: the others start from it."""
    width: int = 80
    """Features of a token, a multiple of 8: 48 makes some 0.1M parameters, 80 0.3M, 128 0.8M."""
    task: str = "sums"
    """What reasoning learns: sums, reworded-sums, long-sums or sorting."""
    shipped_base: bool = False
    """Start the other kinds from the base that ships with corrpo, and train none."""


def run(settings: LabBuild) -> dict[str, Any]:
    """Build, then say where the checkpoints are."""
    from corrpo.lab.build.build import build
    from corrpo.lab.build.settings import Variant

    variant = Variant(settings.width, settings.task, settings.shipped_base)
    made = build(
        settings.output, seed=settings.seed, families=settings.family, kinds=settings.kind, variant=variant
    )
    for folder in made:
        print(folder)
    return {"written": [str(folder) for folder in made]}
