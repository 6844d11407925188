"""Linear modules whose weight a model multiplies by itself, made to run as modules, so that they are seen.

Mamba's mixers compute `dt_proj.weight @ x` and add the bias later, inside the scan; dt_proj never runs.
Within `run_as_modules` that product is taken by its forward, its bias left out: the same numbers. Hooks on
dt_proj, which the model never calls, are not called here either.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)


def run_as_modules(modules: Sequence[nn.Module]) -> AbstractContextManager[Any]:
    """Let every product `module.weight @ x`, x [batch, d_in, T], run the module on x transposed.

    A module that is not a plain linear one (an adapter, a quantized layer) is left alone, since its weight is
    not all of its map.
    """
    plain = [module for module in modules if type(module) is nn.Linear]
    return _ThroughModules(plain) if plain else nullcontext()


class _ThroughModules(TorchFunctionMode):
    def __init__(self, modules: Sequence[nn.Linear]) -> None:
        super().__init__()
        self._owner = {id(module.weight): module for module in modules}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        module = self._owner.get(id(args[0])) if func in _PRODUCTS and len(args) == 2 else None
        if module is None:
            return func(*args, **(kwargs or {}))
        return _without_bias(module, args[1].transpose(-1, -2)).transpose(-1, -2)


def _without_bias(module: nn.Linear, inputs: Tensor) -> Tensor:
    bias = module.bias
    module.bias = None  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return module.forward(inputs)
    finally:
        module.bias = bias
