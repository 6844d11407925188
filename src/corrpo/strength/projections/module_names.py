"""Projections under the names of their own modules, for mixers that are not softmax attention."""

from collections.abc import Sequence
from operator import attrgetter

from torch import nn

from corrpo.strength.projections.projection import Projection


def under_module_names(mixer: nn.Module, names: Sequence[str]) -> dict[str, Projection]:
    """Those of the named submodules (dots for nested ones) that `mixer` has, in the order of `names`."""
    return {name: Projection(attrgetter(name)(mixer)) for name in names if has_modules(mixer, name)}


def has_modules(mixer: nn.Module, *names: str) -> bool:
    """Whether every one of `names` is a submodule of `mixer`."""
    return all(isinstance(_member(mixer, name), nn.Module) for name in names)


def has_parameters(mixer: nn.Module, *names: str) -> bool:
    """Whether every one of `names` is a parameter of `mixer`."""
    return all(isinstance(_member(mixer, name), nn.Parameter) for name in names)


def _member(mixer: nn.Module, name: str) -> object:
    try:
        return attrgetter(name)(mixer)
    except AttributeError:
        return None
