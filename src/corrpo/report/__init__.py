"""Reports: figures, pages and tables of results.

The functions that write pages are imported when they are asked for, as they need matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corrpo.report.pages.comparison import write_comparison_report
    from corrpo.report.pages.experiment import write_experiment_report
    from corrpo.report.pages.fingerprint import write_measure_report
    from corrpo.report.pages.report import write_report

__all__ = ["write_comparison_report", "write_experiment_report", "write_measure_report", "write_report"]
_PAGES = {
    "write_comparison_report": "comparison",
    "write_experiment_report": "experiment",
    "write_measure_report": "fingerprint",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _PAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"corrpo.report.pages.{_PAGES[name]}"), name)
