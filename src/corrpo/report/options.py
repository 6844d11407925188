"""What a report is asked to show: the settings of `corrpo report` and `corrpo.report.write_report`."""

from dataclasses import dataclass
from typing import Literal, get_args

from corrpo.errors import check_known
from corrpo.statistics.settings import check_settings

Format = Literal["svg", "pdf", "png"]
FORMATS: tuple[str, ...] = get_args(Format)
CONFIDENCE = 0.95
"""Of the intervals of differences between model types."""
Axis = Literal["steps", "stretched", "fraction"]


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report is asked to show.

    Raises:
        BadInputError: an unknown axis or format, or a number out of range.
    """

    axis: Axis = "steps"
    """steps; stretched: every measured step has the same room, as in the published figures; fraction of
    each stage, to lay runs of other lengths over one another."""
    published: bool = False
    """Lay the published curves over those of the same family (--axis fraction makes them comparable)."""
    formats: tuple[Format, ...] = ("svg", "pdf")
    """Formats of the figures. Their numbers are always written, as Parquet."""
    measure: str = "pass@1"
    """pass@k that stands for accuracy in figures 4 and 5."""
    resamples: int = 1000
    """Random halves of the samples behind the intervals that are computed here, a delete-half jackknife."""

    def __post_init__(self) -> None:
        for name in self.formats:
            check_known("format", name, FORMATS)
        check_known("axis", self.axis, get_args(Axis))
        check_settings(CONFIDENCE, resamples=self.resamples)
