"""Which estimators fit which layers of a model, before anything is computed."""

from collections.abc import Sequence

from torch import nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.estimators import ESTIMATORS, estimator_named
from corrpo.strength.projections.projection import MixerLayer


def check_fit(model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str], name: str) -> None:
    """Raise if estimator `name` cannot measure these layers, with the reason and those that fit."""
    if reason := misfit(model, layers, projections, name):
        *most, final = map(repr, fitting_estimators(model, layers, projections))
        use = f"{', '.join(most)} or {final}" if most else final
        raise UnsupportedModelError(f"estimator {name!r} {reason}; use {use}")


def fitting_estimators(
    model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str]
) -> list[str]:
    """The names of the estimators that fit these layers, those that fit every model last; see `check_fit`."""
    fitting = [name for name in ESTIMATORS if not misfit(model, layers, projections, name)]
    return sorted(fitting, key=lambda name: estimator_named(name).misfit is None)


def misfit(
    model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str], name: str
) -> str | None:
    """Why estimator `name` does not fit these layers, or None where it does; see `check_fit`."""
    reason_against = estimator_named(name).misfit
    return None if reason_against is None else reason_against(model, layers, projections)
