"""A headless Chromium, and the command that it looks at."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no chromium or google-chrome on the PATH"
)


@contextmanager
def viewing(folder: Path, *more: str) -> Iterator[str]:
    """The address of `corrpo view` on a folder, which Ctrl-C ends quietly."""
    command = [sys.executable, "-m", "corrpo.cli.main", "view", str(folder), "--no-browser", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.match(r"http://127\.0\.0\.1:\d+/", line)
        if match is None:
            raise AssertionError(process.communicate())
        try:
            yield match[0]
        finally:
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors.strip()) == (0, "", "")
