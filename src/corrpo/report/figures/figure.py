"""The record of a figure: where it stands in a page, what it shows, what it needs, and how it is drawn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from corrpo.report.figures import FIGURES
from corrpo.report.html_templates import filled
from corrpo.report.plotting.drawing import Drawing

Section = Literal["types", "tokens", "dynamics", "performance", "runs", "experiment"]
SOURCE = "figures/{name}.parquet, which names the file behind each number."


@dataclass(frozen=True)
class Drawn:
    """A finished drawing, with what its caption is filled with.

    Attributes:
        drawing: under the name of its files.
        facts: names that the caption uses, with their values.
        heading: above it; none if empty.
    """

    drawing: Drawing
    facts: Mapping[str, Any] = field(default_factory=dict)
    heading: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """One figure of a report.

    Attributes:
        stem: beginning of the names of its files, such as figure3.
        section: of the page in which it stands.
        needs: the attribute of the page's results without which (None, empty) it is not drawn: one of
            `corrpo.report.results.Results` for `corrpo report`.
        draw: one drawing or more from the page's results; the second argument is the stem of their names.
        shows: the caption, with {names} for the facts of a drawing.
        source: where its numbers are, likewise; `name` is the drawing's.
        has_anchor: whether a page can be linked to at this figure, by the drawing's name.
    """

    stem: str
    section: Section
    needs: str
    draw: Callable[[Any, str], Iterable[Drawn]]
    shows: str
    source: str = SOURCE
    has_anchor: bool = True


@dataclass(frozen=True)
class PageFigure:
    """A figure as a page shows it.

    Attributes:
        drawing: what is written to files.
        heading: above it; none if empty.
        caption: below it.
        source: where its numbers are.
        has_anchor: see `ReportFigure`.
    """

    drawing: Drawing
    heading: str
    caption: Markup
    source: Markup
    has_anchor: bool

    @property
    def name(self) -> str:
        """Of its files, without a suffix."""
        return self.drawing.name

    @property
    def svg(self) -> Markup:
        """The SVG element, to stand in the page."""
        return self.drawing.inline_svg()


def figure_record(name: str) -> ReportFigure:
    """The record of a figure by its name in `FIGURES`.

    Raises:
        BadInputError: there is none of that name.
    """
    return FIGURES.find(name)


def draw_figures(
    results: Any, sections: Iterable[Section], stems: Mapping[str, str] | None = None
) -> dict[Section, list[PageFigure]]:
    """The figures of some sections for which the results suffice, by section.

    Files are written in the order of `sections`; `stems` are other names of files than the figures' own.
    """
    drawn: dict[Section, list[PageFigure]] = {section: [] for section in sections}
    for name in FIGURES:
        record = figure_record(name)
        if record.section not in drawn or not getattr(results, record.needs, None):
            continue
        stem = (stems or {}).get(name, record.stem)
        drawn[record.section] += [_page_figure(record, figure) for figure in record.draw(results, stem)]
    return drawn


def _page_figure(record: ReportFigure, figure: Drawn) -> PageFigure:
    facts = {"name": figure.drawing.name, **figure.facts}
    return PageFigure(
        figure.drawing,
        figure.heading,
        filled(record.shows, facts),
        filled(record.source, facts),
        record.has_anchor,
    )


def write_figures(
    figures: Mapping[Section, Sequence[PageFigure]], folder: Path, suffixes: Sequence[str]
) -> list[Path]:
    """Write each figure once for each suffix (svg, pdf, png, parquet); returns the paths.

    Raises:
        OutputFolderError: the folder cannot be written to.
    """
    paths = []
    for of_section in figures.values():
        for figure in of_section:
            for suffix in suffixes:
                paths.append(folder / f"{figure.name}.{suffix}")
                figure.drawing.write(paths[-1])
    return paths
