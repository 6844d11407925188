"""verl on a CPU, for tests: what its abstraction of devices has no platform for.

Loaded by verl in every process through VERL_USE_EXTERNAL_MODULES, and chosen by VERL_PLATFORM=cpu. verl 0.9.1
has platforms for CUDA, ROCm and NPU; its FSDP engine is registered for CUDA and NPU.
"""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry

_CPU = torch.device("cpu")


def _nothing(*_args, **_kwargs):
    return 0


@PlatformRegistry.register("cpu")
class CPUPlatform(PlatformBase):
    """One device, the CPU, with gloo."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = SimpleNamespace(
        is_available=lambda: True,
        max_memory_allocated=_nothing,
        max_memory_reserved=_nothing,
        memory_allocated=_nothing,
        memory_reserved=_nothing,
        mem_get_info=lambda *_: (0, 0),
        empty_cache=_nothing,
        synchronize=_nothing,
        set_device=_nothing,
        current_device=lambda: _CPU,
        get_device_name=lambda *_: "cpu",
        get_rng_state=torch.get_rng_state,
        set_rng_state=torch.set_rng_state,
        manual_seed=torch.manual_seed,
        ipc_collect=_nothing,
    )

    def is_available(self):
        return True

    def current_device(self):
        return _CPU

    def device_count(self):
        return 1

    def get_device_capability(self, device_index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg):
        yield

    def ray_resource_name(self):
        return "CPU"

    def ray_noset_envvars(self):
        return []

    def is_ipc_supported(self):
        return False

    def cudart(self):
        return None

    set_device = synchronize = empty_cache = manual_seed = manual_seed_all = _nothing
    set_allocator_settings = profiler_start = profiler_stop = _nothing


def _accept_cpu() -> None:
    """What verl and FSDP1 ask of a device besides: an engine, backends named once, weights on a GPU.

    FSDP1 checks this before processes broadcast their weights, which gloo does on the CPU, and verl moves
    them there before it saves a checkpoint.
    """
    from torch.distributed.fsdp import _init_utils
    from verl.utils import distributed
    from verl.workers.engine.base import EngineRegistry
    from verl.workers.engine.fsdp import transformer_impl

    EngineRegistry.register("language_model", ["fsdp", "fsdp2"], "cpu")(transformer_impl.FSDPEngineWithLMHead)
    transformer_impl.load_fsdp_model_to_gpu = _nothing
    distributed.initialize_global_process_group_ray.__defaults__ = (None, "cpu:gloo")
    _init_utils._check_module_states_for_sync_module_states = _nothing


if os.environ.get("VERL_PLATFORM") == "cpu":
    _accept_cpu()
