"""A finished figure with the numbers it shows: SVG for a page; SVG, PDF or PNG for a paper; a table."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup
from matplotlib.figure import Figure

from corrpo.errors import BadInputError, visible
from corrpo.jobs.files import whole_file, write_parquet, write_text
from corrpo.report.options import FORMATS
from corrpo.report.plotting.figure_style import figure_style

PNG_DPI = 300


def numbers_table(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows of text, whole numbers and floats as a table; text is made visible, a float may be missing."""
    shown = [{k: visible(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    floats = (
        "value",
        "low",
        "high",
        "x",
        "rho",
        "rho_low",
        "rho_high",
        "change",
        "change_low",
        "change_high",
    )
    floats += ("accuracy", "accuracy_low", "accuracy_high")
    table = pl.DataFrame(shown, infer_schema_length=None)
    return table.with_columns(pl.col(name).cast(pl.Float64) for name in floats if name in table.columns)


class Drawing:
    """A figure, drawn when it is asked for; the same numbers give the same bytes, in whatever order.

    The places of its parts are settled here, once, so that all formats have the same.

    Attributes:
        name: of the figure and of its files.
        data: a row for each number that is plotted, with the file or folder that it comes from.
    """

    def __init__(self, name: str, figure: Figure, data: pl.DataFrame):
        self.name = name
        self.data = data
        self._figure = figure
        self._svg: str | None = None
        with figure_style(name):
            figure.set_dpi(PNG_DPI)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")

    def svg(self) -> str:
        """The SVG document: text as text, ids that begin with the name."""
        if self._svg is None:
            with figure_style(self.name):
                self._svg = _svg_of(self._figure, self.name)
        return self._svg

    def inline_svg(self) -> Markup:
        """The SVG element alone, to stand inside HTML."""
        svg = self.svg()
        return Markup(svg[svg.index("<svg") :].strip())

    def write(self, path: Path) -> None:
        """Write the figure (.svg, .pdf, .png at 300 dpi) or its numbers (.parquet), by the suffix."""
        if path.suffix == ".parquet":
            write_parquet(path, self.data)
        elif path.suffix == ".svg":
            write_text(path, self.svg())
        elif path.suffix in (".pdf", ".png"):
            content = self._rendered(path.suffix[1:])
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
        else:
            raise BadInputError(f"{path}: expected a name that ends in .{', .'.join(FORMATS)} or .parquet")

    def _rendered(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        nothing = {"CreationDate": None} if kind == "pdf" else {"Software": None}
        with figure_style(self.name):
            self._figure.savefig(buffer, format=kind, dpi=PNG_DPI, facecolor="white", metadata=nothing)
        return buffer.getvalue()


def _svg_of(figure: Figure, name: str) -> str:
    """A figure as an SVG document: text as text, no dates, and ids that begin with `name`."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, dpi=220)
    return _with_own_ids(buffer.getvalue(), re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-"))


def _with_own_ids(svg: str, prefix: str) -> str:
    """Ids made unique to a figure, so that several can stand in one page."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    return re.sub(r'xlink:href="#', f'xlink:href="#{prefix}-', svg)
