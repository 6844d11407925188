"""How many processes to share work between, and the device of each: by cores, GPUs and free memory."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from corrpo.errors import BadInputError
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.gguf import is_gguf, open_gguf
from corrpo.models.memory import free_memory
from corrpo.models.saved_model import saved_dtype, weight_files

_BASE = 1 << 30
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Need:
    """What a worker must have: the kind of device that its models are loaded on, free memory, devices."""

    device: str = "auto"
    memory: int | None = None
    """Bytes; None if the size of the weights is not known."""
    devices: int | None = 1
    """GPUs, or cores where there are none; None for all of a machine, as for a model spread over them."""


def need_of(checkpoints: Sequence[Checkpoint], device: str, dtype: str, devices: int | None = 1) -> Need:
    """What a worker on any of `checkpoints` must have.

    Its memory is, for each of its devices, 1 GiB and twice the bytes of the largest's weights; but once for a
    model that is spread over all of them.
    """
    needs = [_memory_needed(checkpoint, dtype) for checkpoint in checkpoints]
    known = [need for need in needs if need is not None]
    memory = max(known) * (devices or 1) if known and len(known) == len(needs) else None
    return Need(device, memory, devices)


def processes_for(
    checkpoints: Sequence[Checkpoint],
    processes: int | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
) -> int:
    """How many processes to share `checkpoints` between: `processes`, up to the number of checkpoints.

    If not given, not more than there are checkpoints, GPUs or else cores, and free memory for; see `need_of`.
    One where the size of the weights is not known, as for names on the hub.
    """
    check_processes(processes, None)
    most = max(1, len(checkpoints))
    if processes is not None:
        return min(processes, most)
    devices = devices_for(device)
    workers = usable_cores() if devices == ["cpu"] else len(devices)
    memory = need_of(checkpoints, device, dtype).memory
    return 1 if memory is None else max(1, min(most, workers, free_memory() // memory))


def check_processes(processes: int | None, device_map: str | None, cluster: str | None = None) -> None:
    """Refuse a bad number; and several where a model is spread over all GPUs of this machine.

    >>> check_processes(4, None)
    """
    if processes is not None and processes < 1:
        raise BadInputError(f"processes={processes}: expected 1 or more, or leave it out")
    if device_map is not None and cluster is None and processes not in (None, 1):
        raise BadInputError(
            f"device_map={device_map!r} spreads one model over all GPUs of this machine, and there are "
            f"{processes} processes: give it to one, or let each have a GPU and a model of its own"
        )


def devices_for(device: str) -> list[str]:
    """The devices that processes are given in turn: every visible GPU for "auto" and "cuda", else `device`.

    >>> devices_for("cpu")
    ['cpu']
    """
    if device not in ("auto", "cuda"):
        return [device]
    gpus = torch.cuda.device_count()
    return [f"cuda:{number}" for number in range(gpus)] or ["cpu" if device == "auto" else device]


def visible_device(device: str, visible: str | None) -> str | None:
    """The value of CUDA_VISIBLE_DEVICES that leaves a process one GPU; None where there is nothing to set.

    Raises:
        BadInputError: no number of a GPU, or one that `visible` does not list.

    >>> visible_device("cuda:1", None), visible_device("cuda:1", "4,6"), visible_device("cpu", None)
    ('1', '6', None)
    """
    if not device.startswith("cuda:"):
        return None
    number, listed = device.removeprefix("cuda:"), visible.split(",") if visible else None
    if not number.isdecimal() or (listed is not None and int(number) >= len(listed)):
        there = f", and CUDA_VISIBLE_DEVICES lists {len(listed)}" if listed is not None else ""
        raise BadInputError(f"device {device!r}: expected cuda:N with the number of a GPU{there}")
    return number if listed is None else listed[int(number)]


def _memory_needed(checkpoint: Checkpoint, dtype: str) -> int | None:
    """Bytes; None if the size of the weights is not known."""
    folder = Path(checkpoint.source)
    if is_gguf(folder):
        try:
            return open_gguf(folder).weights * _BYTES.get(dtype, _BYTES["float32"]) * 2 + _BASE
        except BadInputError:  # told when its turn comes
            return None
    files = weight_files(folder) if folder.is_dir() else []
    if not files:
        return None
    widened = _BYTES.get(dtype, 0) / _BYTES.get(saved_dtype(folder) or "", _BYTES["float64"])
    return int(sum(path.stat().st_size for path in files) * max(1.0, widened)) * 2 + _BASE


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
