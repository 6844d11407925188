"""Errors by which memory runs out: of a GPU, of torch on a CPU, of Python."""

import torch

MEMORY_ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]
