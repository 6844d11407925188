"""Random gradients of many shapes and spectra, as factors whose product's singular values are known."""

import torch
from torch import Tensor

SPECTRA = (
    "flat",
    "geometric",
    "power",
    "rank one",
    "rank deficient",
    "zero",
    "close",
    "random",
    "cancelling",
)
SCALES = (1e-30, 1e-8, 1.0, 1e8, 1e30)


def orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """[rows, columns] with orthonormal columns, float64."""
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64)).Q


def singular_values(spectrum: str, rank: int, generator: torch.Generator) -> Tensor:
    """[rank] values with the decay that a name says, at random speed."""
    speed = torch.rand((), generator=generator, dtype=torch.float64)
    index = torch.arange(rank, dtype=torch.float64)
    if spectrum == "geometric":
        return (0.3 + 0.69 * speed) ** index
    if spectrum == "power":
        return (1 + index) ** -(0.5 + 3 * speed)
    if spectrum == "close":  # clusters of nearly equal values
        return 10.0 ** -(index // 4) * (1 + 1e-9 * index)
    values = torch.ones(rank, dtype=torch.float64)
    if spectrum == "rank one":
        values[1:] = 0
    elif spectrum == "rank deficient":
        values[rank // 2 :] = 0
    return 0 * values if spectrum == "zero" else values


def factors(spectrum: str, t: int, d_out: int, d_in: int, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """Delta [t, d_out] and A [t, d_in], float64, whose product has the named spectrum times `scale`."""
    generator = torch.Generator().manual_seed(seed)
    rank = min(t, d_out, d_in)
    if spectrum in ("random", "cancelling"):
        delta = torch.randn(t, d_out, generator=generator, dtype=torch.float64)
        inputs = torch.randn(t, d_in, generator=generator, dtype=torch.float64)
        if spectrum == "cancelling":  # rows of one sign meet rows of the other, as keys do under a softmax
            delta -= delta.mean(0)
            inputs = 1 + 1e-3 * inputs
        return scale * delta, inputs
    left, right, mixed = (orthonormal(n, rank, generator) for n in (d_out, d_in, t))
    values = singular_values(spectrum, rank, generator)
    return scale * (mixed * values) @ left.T, mixed @ right.T
