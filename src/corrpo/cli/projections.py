"""The table of `corrpo measure MODEL --list-projections`."""

from rich import box
from rich.table import Table
from rich.text import Text
from torch import nn

from corrpo.errors import visible
from corrpo.jobs.console import Console
from corrpo.measurement.options import MeasureOptions
from corrpo.strength.estimators import ESTIMATORS, measures_last_layer_alone
from corrpo.strength.estimators.fit import fitting_estimators, misfit
from corrpo.strength.projections.listing import list_projections, ranges
from corrpo.strength.projections.mixers import find_layers, select_layers


def print_projections(model: nn.Module, name: str, options: MeasureOptions, console: Console) -> None:
    """Print every projection of a model, and which of them `options` would measure.

    Layers that the model has not are an error, after the table.
    """
    table = Table(
        title=Text(visible(f"{name}: {type(model).__name__}")), box=box.SIMPLE_HEAD, title_justify="left"
    )
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
        cells = (*shown, row.projection, row.module, sizes, row.share)
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console.print(table)
    console.print(_measured(model, options), highlight=False, markup=False)


def _measured(model: nn.Module, options: MeasureOptions) -> str:
    """Which layers a measurement with these options takes, and the estimators that fit."""
    names = options.projections
    holders = find_layers(model, names)
    last = holders[-1:]
    is_unrestricted = options.layers is None
    of_last_layer = is_unrestricted and measures_last_layer_alone(options.estimator)
    chosen = last if of_last_layer else select_layers(holders, options.layers)
    last_layer_estimators = [name for name in ESTIMATORS if measures_last_layer_alone(name)]
    fitting = [name for name in fitting_estimators(model, chosen, names) if name not in last_layer_estimators]
    for name in last_layer_estimators:
        if (is_unrestricted or chosen == last) and not misfit(model, last, names, name):
            fitting.insert(-1, name if chosen == last else f"{name} (layer {len(holders) - 1} alone)")
    word = "layer" if len(chosen) == 1 else "layers"
    numbers = ranges(sorted(holders.index(layer) for layer in chosen))
    return (
        f"--projections {' '.join(names)} measures {word} {numbers} of the {len(holders)} that hold them; "
        f"estimators that fit: {', '.join(fitting)}."
    )
