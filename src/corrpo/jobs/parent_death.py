"""Processes that do not outlive the one that started them, however that ends; on Linux alone."""

import ctypes
import os
import signal
import sys

_ENDS_WITH_PARENT = "CORRPO_ENDS_WITH_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent(how: signal.Signals) -> None:
    """Let the system send `how` to this process when the thread that started it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, how)


def marked_environment() -> dict[str, str]:
    """The environment of a launcher whose processes are to end with it; see `end_if_marked`."""
    return os.environ | {_ENDS_WITH_PARENT: "1"}


def end_if_marked() -> None:
    """End with the parent if an experiment started it: torchrun, when it is killed, leaves its processes."""
    if _ENDS_WITH_PARENT in os.environ:
        end_with_parent(signal.SIGKILL)
