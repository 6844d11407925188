"""The files of a diagnosis: Parquet, CSV, Markdown, JSON and the figure; and its table inside a page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError, visible
from corrpo.jobs.files import write_json, write_parquet, write_text
from corrpo.report.diagnosis import Diagnosis
from corrpo.report.figures.rho_by_model_type import rows_figure
from corrpo.report.formatting import DASH, bracketed, count, decimal, markdown_table, percent

NAME = "diagnosis"
"""Of the files: diagnosis.parquet, .csv, .md, .json, .svg and .pdf."""
BEGIN, END = "<!-- diagnosis -->", "<!-- end of diagnosis -->"
"""Lines of a page between which the table stands."""


def write_diagnosis(diagnosis: Diagnosis, folder: Path | str) -> list[Path]:
    """Write diagnosis.parquet, .csv, .md, .json, .svg and .pdf into a folder; returns their paths.

    Raises:
        OutputFolderError: the folder cannot be written to.
    """
    table = diagnosis.table()
    paths = [Path(folder) / f"{NAME}.{end}" for end in ("parquet", "csv", "md", "json", "svg", "pdf")]
    write_parquet(paths[0], table)
    write_text(paths[1], table.write_csv())
    write_text(paths[2], markdown(table))
    write_json(paths[3], diagnosis.as_dict())
    rows = [model.row for model in diagnosis.models]
    figure = rows_figure(NAME, rows, diagnosis.comparisons[0].measurement)
    for path in paths[4:]:
        figure.write(path)
    return paths


def markdown(table: pl.DataFrame) -> str:
    """The table of a diagnosis for a page: what `Diagnosis.table` holds, rounded.

    Args:
        table: as `Diagnosis.table` or a diagnosis.parquet has it.
    """
    against = [name.removeprefix("change_from_") for name in table.columns if _is_change(name, table)]
    has_sets = table["sample_set"].n_unique() > 1
    head = ["family", "model", *(["samples"] if has_sets else []), "rho", "position held", "untrained"]
    head += [f"change from {name}" for name in against]
    has_baseline = "baseline" in table.columns  # which tables of older versions lack
    head += ["baseline"] if has_baseline else []
    head += ["pass@1, %", "tokens a response", "tokens", "samples answered"]
    lines = []
    for row in table.iter_rows(named=True):
        names = [row["family"], row["regime"], *([row["sample_set"]] if has_sets else [])]
        numbers = [_shown(row, name) for name in ("rho", "rho_position_held", "untrained")]
        numbers += [_shown(row, f"change_from_{name}") for name in against]
        numbers += [_shown(row, "baseline")] if has_baseline else []
        numbers += [_shown(row, "accuracy", percent), decimal(row["response_tokens"], 0)]
        numbers += [count(row["n_tokens"]), count(row["n_samples"])]
        lines.append([*(visible(name).replace("|", "\\|") for name in names), *numbers])
    return markdown_table(head, lines, text_columns=3 if has_sets else 2, number_rule="--:") + "\n"


def renew_page(page: Path | str, table: pl.DataFrame) -> None:
    """Put the table into a Markdown page, between the lines `BEGIN` and `END`, in place of what is there."""
    page = Path(page)
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"cannot read the page {page}: {error}") from error
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not (begin and end) or any(mark in before + after for mark in (BEGIN, END)):
        raise BadInputError(f"{page}: expected a line {BEGIN} and below it a line {END}, each once")
    write_text(page, f"{before}{BEGIN}\n\n{markdown(table)}\n{END}\n{after}")


def _is_change(name: str, table: pl.DataFrame) -> bool:
    """Whether a column is a change, and not an end or p of one, which have no ends themselves."""
    return name.startswith("change_from_") and f"{name}_low" in table.columns


def _shown(row: dict[str, Any], name: str, show: Callable[[float | None], str] = decimal) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return DASH if value is None else f"{show(value)} {bracketed(low, high, show)}".rstrip()
