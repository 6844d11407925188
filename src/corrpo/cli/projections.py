"""The table of `corrpo measure MODEL --list-projections`."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from corrpo.measurement.options import MeasureOptions
from corrpo.strength.estimators.fit import fitting_estimators, misfit
from corrpo.strength.projections.listing import list_projections, ranges
from corrpo.strength.projections.mixers import find_layers, select_layers


def print_projections(model: nn.Module, name: str, options: MeasureOptions, console: Console) -> None:
    """Print every projection of a model, and which of them `options` would measure.

    Args:
        model: a causal LM, on the meta device or any other.
        name: what the model is called in the title.
        options: projections, layers and estimator of the measurement.
        console: where to print.

    Raises:
        UnsupportedModelError: no mixer is recognised.
        BadInputError: the model has not the layers that `options` ask for; the table is printed before.
    """
    table = Table(title=f"{name}: {type(model).__name__}", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("layers", "mixer", "projection", "module", "d_out x d_in", "rows of the module"):
        table.add_column(column, overflow="fold")
    before = None
    for row in list_projections(model):
        kind = (row.layers, f"{row.path} ({row.mixer})")
        if before not in (None, kind):
            table.add_section()
        shown = kind if kind != before else ("", "")
        before = kind
        sizes = f"{row.d_out} x {row.d_in}"
        table.add_row(*map(Text, (*shown, row.projection, row.module, sizes, row.share)))
    console.print(table)
    console.print(_measured(model, options), highlight=False, markup=False)


def _measured(model: nn.Module, options: MeasureOptions) -> str:
    """Which layers a measurement with these options takes, and the estimators that fit."""
    names = options.projections
    found = find_layers(model, names)
    last = found[-1:]
    whole = options.layers is None
    chosen = last if whole and options.estimator == "last" else select_layers(found, options.layers)
    fitting = [each for each in fitting_estimators(model, chosen, names) if each != "last"]
    if (whole or chosen == last) and not misfit(model, last, names, "last"):
        fitting.insert(-1, "last" if chosen == last else f"last (layer {len(found) - 1} alone)")
    word = "layer" if len(chosen) == 1 else "layers"
    numbers = ranges(sorted(found.index(layer) for layer in chosen))
    return (
        f"--projections {' '.join(names)} measures {word} {numbers} of the {len(found)} that hold them; "
        f"estimators that fit: {', '.join(fitting)}."
    )
