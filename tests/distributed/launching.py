"""Commands of corrpo as torchrun starts them, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

TIME_LIMIT = 240
QUICK = ["--estimator", "own", "--resamples", "20", "--permutations", "0", "--max-new-tokens", "12"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def command(words: list[str], processes: int) -> list[str]:
    launcher = [*TORCHRUN, str(processes)] if processes > 1 else []
    return [sys.executable, *launcher, *words]


def launched(words: list[str], processes: int) -> subprocess.CompletedProcess:
    """Run `python WORDS`, or torchrun WORDS in several processes, to its end."""
    return subprocess.run(
        command(words, processes),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )


def corrpo(words: list[str], processes: int, status: int = 0) -> subprocess.CompletedProcess:
    run = launched(["-m", "corrpo", *map(str, words)], processes)
    assert run.returncode == status, run.stderr[-3000:]
    return run


def started(words: list[str], processes: int) -> subprocess.Popen:
    return subprocess.Popen(
        command(["-m", "corrpo", *map(str, words)], processes),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(process: subprocess.Popen, reached, how: signal.Signals = signal.SIGKILL) -> None:
    """Wait until `reached()`, then end the process and its children at once."""
    deadline = time.monotonic() + TIME_LIMIT
    while not reached():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children = psutil.Process(process.pid).children(recursive=True)
    for each in (psutil.Process(process.pid), *children):
        each.send_signal(how)
    process.wait()
    psutil.wait_procs(children, timeout=30)


def files(folder: Path, *, but: str = "report.html") -> dict[str, bytes]:
    """Every file below a folder with its bytes, but for locks and for a page that tells when it was made."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", but)
    }
