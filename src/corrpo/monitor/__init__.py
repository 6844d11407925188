"""The monitor: rho of entropy and gradient strength while a model writes, and flags at a stated rate.

Its classes are imported when they are asked for, as they need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corrpo.monitor.calibration import Calibration, calibrate
    from corrpo.monitor.monitor import Monitor
    from corrpo.monitor.options import MonitorOptions
    from corrpo.monitor.running_rho import RunningRho
    from corrpo.monitor.watched_response import Scored, Watched, Written

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
_MODULES = {
    "Calibration": "calibration",
    "Monitor": "monitor",
    "MonitorOptions": "options",
    "RunningRho": "running_rho",
    "Scored": "watched_response",
    "Watched": "watched_response",
    "Written": "watched_response",
    "calibrate": "calibration",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"corrpo.monitor.{_MODULES[name]}"), name)
