"""Reports: figures, and HTML files that need nothing but themselves."""

from corrpo.report.html import write_comparison_report, write_measure_report
from corrpo.report.page import write_report

__all__ = ["write_comparison_report", "write_measure_report", "write_report"]
