"""The families of token mixers that corrpo knows, a file each, and where their projections are.

Each file defines `projections_of`, from a module to its projections by name, or None for a module of another
family. docs/how-to/add-an-architecture.md tells how to add one.
"""

from collections.abc import Callable
from importlib import import_module

from torch import nn

from corrpo.strength.projections.projection import Projection

FAMILIES = (
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "falcon",
    "phi3",
    "mpt",
    "codegen",
    "mla",
    "gated",
    "shared_keys",
    "gated_delta",  # before separate: some of these have a q_proj, too
    "lightning",
    "separate",
    "mamba",
    "rwkv",
    "short_convolution",
    "griffin",
    "xlstm",
)
"""In the order in which a module is shown to them; the first that knows it has it."""


def families() -> list[Callable[[nn.Module], dict[str, Projection] | None]]:
    """What each of `FAMILIES` defines, in their order."""
    return [import_module(f"{__name__}.{name}").projections_of for name in FAMILIES]
