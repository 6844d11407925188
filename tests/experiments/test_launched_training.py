"""A launcher and the processes that it starts end with the process that had it started."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from corrpo.errors import CorrpoError
from corrpo.experiments.launched_training import train_by_launcher
from corrpo.jobs.workers import local_workers
from jobs.launching import environment

LAUNCHER = """
import subprocess, sys, time
trained = subprocess.Popen([sys.executable, "-c", sys.argv[2]])
open(sys.argv[1], "w").write(str(trained.pid))
time.sleep(600)
"""
TRAINED = "import time; from corrpo.jobs.parent_death import end_if_marked; end_if_marked(); time.sleep(600)"


def launcher(pid: Path) -> list[str]:
    """A command that starts one process, writes its number, and never ends by itself."""
    return [sys.executable, "-c", LAUNCHER, str(pid), TRAINED]


def started(pid: Path) -> psutil.Process:
    """The process whose number is written there, once it has begun to wait."""
    while not pid.exists() or not pid.read_text():
        time.sleep(0.05)
    process = psutil.Process(int(pid.read_text()))
    while process.cpu_times().user == 0 or process.status() != psutil.STATUS_SLEEPING:
        time.sleep(0.05)
    time.sleep(0.5)
    return process


def train(folder: Path) -> None:
    with (folder / "lock").open("w") as lock, local_workers(1):
        train_by_launcher(launcher(folder / "pid"), "grpo", {}, folder, lock)


def test_ctrl_c_ends_the_launcher_and_what_it_started(tmp_path):
    def interrupt():
        started(tmp_path / "pid")
        os.kill(os.getpid(), signal.SIGINT)

    others = psutil.Process().children()
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    interrupting.join()
    assert psutil.Process().children() == others
    assert_gone(int((tmp_path / "pid").read_text()))


def test_so_does_the_death_of_the_process_that_trains(tmp_path):
    owner = subprocess.Popen([sys.executable, __file__, str(tmp_path)], env=environment())
    trained = started(tmp_path / "pid")
    owner.kill()
    owner.wait()
    assert_gone(trained.pid)


def test_the_reason_is_what_the_training_of_this_call_said(tmp_path):
    log = tmp_path / "training.log"
    log.write_text("RuntimeError: of an earlier call\n")
    for said, reason in (
        ("corrpo train: dataset x has no column\nChildFailedError: rank 0\n", "dataset x has no column"),
        ("ValueError: of torch\nbye\n", "ValueError: of torch"),
        ("step 5\nKilled\n", "Killed"),
        ("", "nothing was written"),
    ):
        command = [sys.executable, "-c", f"import sys; print({said!r}, end=''); sys.exit(3)"]
        with (tmp_path / "lock").open("w") as lock, pytest.raises(CorrpoError, match=f"status 3.*{reason}$"):
            train_by_launcher(command, "grpo", {}, tmp_path, lock)


def assert_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
