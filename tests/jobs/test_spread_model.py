"""A model over two devices, of which one is made up (`twin_device`), gives what it gives on one."""

import json
import os
import subprocess
import sys

import pytest

from commands import ROOT


def test_a_model_over_two_devices_gives_what_it_gives_on_one():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "jobs" / "twin_device.py")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    differences = json.loads(done.stdout)
    assert len(differences) == 18
    assert differences == {name: pytest.approx(0, abs=2e-6) for name in differences}
