"""Linear layers on a CPU, quicker for a few rows, as there are where texts are continued token by token.

For x W' of two to some sixty rows MKL copies all of W first, which takes longer than the product, and on one
thread. For W x' it reads W once. Same results within rounding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

MOST_ROWS = 64
"""Beyond these the copy is a small part of the product."""
LEAST_WEIGHTS = 2**19
"""Entries of a matrix below which there is nothing to gain."""


class FewRows(TorchFunctionMode):
    """Within it, float32 linear layers of a few rows that keep no gradient are multiplied so."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See torch."""
        if func is linear and not kwargs and _gains(*args[:2]):
            return linear_of_few_rows(*args)
        return func(*args, **(kwargs or {}))


def _gains(x: Tensor, weight: Tensor) -> bool:
    return (
        torch.backends.mkl.is_available()
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.get_float32_matmul_precision() == "highest"  # else oneDNN does it
        and type(x) is Tensor
        and type(weight) in (Tensor, Parameter)
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and weight.numel() >= LEAST_WEIGHTS
        and 2 <= x.numel() // weight.shape[-1] <= MOST_ROWS
    )


def linear_of_few_rows(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W' + b, float [..., out], as `torch.nn.functional.linear`: x [..., in], weight [out, in], bias [out].

    >>> x, weight = torch.arange(6.0).view(2, 1, 3), torch.eye(3)
    >>> linear_of_few_rows(x, weight, torch.ones(3)).tolist()
    [[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]
    """
    product = torch.mm(weight, x.reshape(-1, x.shape[-1]).T).T.contiguous()
    product = product.view(*x.shape[:-1], weight.shape[0])
    return product if bias is None else product + bias
