"""Reports: figures, pages and tables of results.

The functions that write pages are imported when they are first used, as they need matplotlib.
"""

from typing import TYPE_CHECKING

from corrpo.errors import lazy_attributes

if TYPE_CHECKING:
    from corrpo.report.pages.comparison import write_comparison_report as write_comparison_report
    from corrpo.report.pages.experiment import write_experiment_report as write_experiment_report
    from corrpo.report.pages.fingerprint import write_measure_report as write_measure_report
    from corrpo.report.pages.report import write_report as write_report

__getattr__ = lazy_attributes(
    __name__,
    {
        "pages.comparison": "write_comparison_report",
        "pages.experiment": "write_experiment_report",
        "pages.fingerprint": "write_measure_report",
        "pages.report": "write_report",
    },
)
