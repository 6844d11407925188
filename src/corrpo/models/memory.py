"""How much memory is free: of the machine, of the container it may be in, of a GPU; and that it ran out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from corrpo.errors import OutOfMemoryError, first_line

_CGROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device | None = None) -> int:
    """Bytes free on a GPU; else on the machine, or in the control group of a container if that is less.

    What torch keeps of a GPU without using it is free too.
    """
    if device is not None and device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    free = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
        cache = int(dict(line.split() for line in lines)["inactive_file"])
    except (OSError, ValueError, KeyError):  # no control group, or one without a limit
        return free
    return min(free, max(0, limit - used + cache))


@contextmanager
def in_memory(what: str, remedy: str) -> Iterator[None]:
    """Raise `OutOfMemoryError`, with what to do against it, where memory runs out within the block.

    >>> with in_memory("a batch of 8", "give a smaller one"):
    ...     raise torch.OutOfMemoryError("CUDA out of memory.")
    Traceback (most recent call last):
    corrpo.errors.OutOfMemoryError: a batch of 8: CUDA out of memory.; give a smaller one
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, OutOfMemoryError) or not ran_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"{what}: {first_line(error)}; {remedy}") from error


def ran_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out; torch's allocator on a CPU has no class of its own for it.

    >>> ran_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
