"""The monitor: rho of entropy and gradient strength while a model writes, and flags at a stated rate."""

from corrpo.monitor.calibration import Calibration, calibrate
from corrpo.monitor.monitor import Monitor, MonitorOptions, Scored, Watched, Written
from corrpo.monitor.running_rho import RunningRho

__all__ = [
    "Calibration",
    "Monitor",
    "MonitorOptions",
    "RunningRho",
    "Scored",
    "Watched",
    "Written",
    "calibrate",
]
