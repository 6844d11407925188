"""Two processes under torchrun score rollouts as one process scores all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("trainer_worker.py")


def scored(folder: Path, processes: int, kind: str, control: str) -> dict:
    output = folder / f"{kind}-{control}-{processes}.json"
    command = [str(WORKER), str(output), kind, str(16 // processes), control]
    if processes > 1:
        rendezvous = ["--standalone", "--nproc_per_node", str(processes)]
        command = ["-m", "torch.distributed.run", *rendezvous, *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(WORKER.parents[1]), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr[-6000:]
    return json.loads(output.read_text()) | {"weights": torch.load(f"{output}.pt")}


@pytest.mark.parametrize(("kind", "control"), [("corrpo", "none"), ("corrpo", "shuffle"), ("rloo", "clamp")])
def test_rewards_and_advantages_equal_those_of_one_process(kind, control, tmp_path):
    one, two = (scored(tmp_path, processes, kind, control) for processes in (1, 2))
    assert two["processes"] == 2
    assert len(one["advantages"]) == 16  # those of the second step, after one update
    for name in ("digits", "inversion"):
        np.testing.assert_allclose(two["rewards"][name], one["rewards"][name], atol=2e-5)
    np.testing.assert_allclose(two["rho"], one["rho"], atol=2e-5)
    np.testing.assert_allclose(two["advantages"], one["advantages"], atol=2e-4)
    torch.testing.assert_close(two["weights"], one["weights"], rtol=0, atol=2e-3)
