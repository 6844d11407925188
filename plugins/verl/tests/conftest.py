"""verl on the CPU in this process and in every one that Ray starts, and what its tests share."""

import json
import os
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent

collect_ignore = ["cpu_platform.py", "record_trl.py"]  # verl imports the one, and the other needs TRL

os.environ |= {
    "VERL_PLATFORM": "cpu",
    "VERL_USE_EXTERNAL_MODULES": "cpu_platform",
    "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "300000",  # Ray's 30 seconds are too few on a busy machine
}


@pytest.fixture(scope="session")
def recorded() -> dict:
    """Rollouts of corrpo's trainer on TRL and what it made of them under several settings (record_trl.py)."""
    return json.loads((HERE / "data" / "trl_rollouts.json").read_text())


@pytest.fixture(scope="session")
def cluster():
    """Ray on this machine, with verl's queue of rollouts."""
    import ray
    import transfer_queue
    from omegaconf import OmegaConf

    own = {"_temp_dir": tempfile.mkdtemp(prefix="ray-")}  # no other cluster of this machine is joined
    for attempt in range(3):  # Ray waits 30 seconds for its processes, which a busy machine may not keep
        try:
            ray.init("local", num_cpus=8, num_gpus=0, include_dashboard=False, log_to_driver=False, **own)
            break
        except Exception as error:
            if attempt == 2 or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    storage = {"storage_backend": "SimpleStorage", "SimpleStorage": {"num_data_storage_units": 1}}
    transfer_queue.init(OmegaConf.create({"backend": storage}))
    yield
    transfer_queue.close()
    ray.shutdown()
