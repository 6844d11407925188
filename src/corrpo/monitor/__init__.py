"""The monitor: rho of entropy and gradient strength while a model writes, and flags at a stated rate.

Its classes are imported when they are first used, as they need torch.
"""

from typing import TYPE_CHECKING

from corrpo.errors import lazy_attributes

if TYPE_CHECKING:
    from corrpo.monitor.calibration import Calibration as Calibration
    from corrpo.monitor.calibration import calibrate as calibrate
    from corrpo.monitor.monitor import Monitor as Monitor
    from corrpo.monitor.options import MonitorOptions as MonitorOptions
    from corrpo.monitor.running_rho import RunningRho as RunningRho
    from corrpo.monitor.watched_response import Scored as Scored
    from corrpo.monitor.watched_response import Watched as Watched
    from corrpo.monitor.watched_response import Written as Written

__getattr__ = lazy_attributes(
    __name__,
    {
        "calibration": "Calibration calibrate",
        "monitor": "Monitor",
        "options": "MonitorOptions",
        "running_rho": "RunningRho",
        "watched_response": "Scored Watched Written",
    },
)
