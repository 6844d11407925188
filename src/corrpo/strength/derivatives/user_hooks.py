"""The hooks that a user has put on a model or on all modules: what they do belongs to the function measured.

A hook may look at positions from either end, at the whole batch of a gradient, or at all of the vocabulary. A
model that has one is therefore read over the whole sequence, and its graph starts at the embeddings, so that
hooks find tensors that require grad. Hooks of libraries that shard, offload or record are none of a user's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

_LIBRARIES = {"torch", "transformers", "accelerate", "deepspeed", "peft"}
_FORWARD = {"_forward_pre_hooks": "forward pre-hook", "_forward_hooks": "forward hook"}
_BACKWARD = {"_backward_pre_hooks": "backward pre-hook", "_backward_hooks": "backward hook"}


@dataclass(frozen=True)
class UserHook:
    """One hook.

    Attributes:
        number: of its handle, which no other hook of the process has.
        module: what it is on; None for all modules.
        path: of the module in the model.
        kind: "forward hook", "forward pre-hook", "backward hook" or "backward pre-hook".
        name: of the function.
    """

    number: int
    module: nn.Module | None
    path: str
    kind: str
    name: str

    def __str__(self) -> str:
        """For messages."""
        return f"the {self.kind} {self.name} on {self.path}"

    @property
    def goes_back(self) -> bool:
        """Whether it is called in the backward pass."""
        return self.kind in _BACKWARD.values()


def user_hooks(model: nn.Module) -> list[UserHook]:
    """The hooks on all modules, and those on the modules of a model."""
    found = []
    for attribute, kind in (_FORWARD | _BACKWARD).items():
        table = getattr(torch_module, f"_global{attribute}")
        found += [UserHook(i, None, "all modules", kind, _name(hook)) for i, hook in _of_users(table)]
        for path, module in model.named_modules():
            where = path or type(model).__name__
            table = getattr(module, attribute)
            found += [UserHook(i, module, where, kind, _name(hook)) for i, hook in _of_users(table)]
    return found


def hooks_of_output(hooks: list[UserHook], module: nn.Module) -> bool:
    """Whether one of the hooks of a model is on `module` or on one that holds it."""
    return any(
        hook.module is None or any(inside is module for inside in hook.module.modules()) for hook in hooks
    )


def may_change_in_place(*modules: nn.Module) -> bool:
    """Whether a user's forward hook is on one of the modules, or on all, and may write into its output."""
    tables = [torch_module._global_forward_hooks, *(module._forward_hooks for module in modules)]
    return any(True for table in tables for _ in _of_users(table))


def naming(hooks: list[UserHook]) -> str:
    """A clause that names the hooks, for the end of a message; empty without any."""
    if not hooks:
        return ""
    others = "" if len(hooks) == 1 else f" and {len(hooks) - 1} more"
    return f" (the model has {hooks[0]}{others})"


def _of_users(table: dict[int, Any]) -> Iterator[tuple[int, Any]]:
    for number, hook in table.items():
        if (getattr(_function(hook), "__module__", None) or "").partition(".")[0] not in _LIBRARIES:
            yield number, hook


def _function(hook: Any) -> Any:
    while isinstance(hook, partial):
        hook = hook.func
    return hook


def _name(hook: Any) -> str:
    function = _function(hook)
    return getattr(function, "__qualname__", type(function).__qualname__)
