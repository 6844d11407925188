"""Matrix products of float32 by bfloat16 instructions, where the CPU has them.

Factors are rounded to bfloat16 (8 bits), products are summed in float32, and all that lies between two
products stays float32, unlike under `torch.autocast`, which rounds results too.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16: AVX-512 BF16 or AMX, `avx512_bf16` or `amx_bf16` in `lscpu`."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def bfloat16_products() -> AbstractContextManager[None]:
    """Let torch make products of float32 matrices so within the block; on another CPU nothing changes."""
    return _precision("medium") if has_bfloat16() else nullcontext()


def float32_products() -> AbstractContextManager[None]:
    """Whatever is around the block, without rounding of factors within it."""
    return _precision("highest")


@contextmanager
def _precision(named: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(named)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
