"""Reports: figures, and HTML files that need nothing but themselves."""

from corrpo.report.pages.comparison import write_comparison_report, write_measure_report
from corrpo.report.pages.results import write_report

__all__ = ["write_comparison_report", "write_measure_report", "write_report"]
