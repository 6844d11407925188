"""Commands in processes of their own: of torchrun, and of corrpo until they are ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

TIME_LIMIT = 400
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def torchrun(words: list[str]) -> subprocess.CompletedProcess:
    """Run torchrun WORDS to its end."""
    return subprocess.run(
        [*TORCHRUN, *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )


def ended_when(words: list[str], reached: Callable[[], bool], how: signal.Signals) -> tuple[int, str]:
    """Start corrpo WORDS, and end it when `reached()`; its status and what it said on standard error.

    The processes that it had started end with it.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "corrpo.cli.main", *words],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + TIME_LIMIT
    while not reached():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    _, output = process.communicate(timeout=TIME_LIMIT)
    assert not psutil.wait_procs(workers, timeout=30)[1]
    return process.returncode, output


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, but for locks and for pages and figures, which name it.

    Of a fingerprint.json all but `run`, which tells when and by what call it was made, and the checksum,
    which that is part of.
    """
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "report.html") and path.parent.name != "figures"
    }


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name != "fingerprint.json":
        return content
    record = json.loads(content)
    assert record.pop("run")["processes"] >= 1
    del record["checksum"]
    return json.dumps(record).encode()
