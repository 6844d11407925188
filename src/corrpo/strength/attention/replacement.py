"""Another attention function in a model's place, for the time of a measurement."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from corrpo.errors import UnsupportedModelError

_SOFTMAX_ATTENTION = ("eager", "sdpa", "flash_attention", "flex_attention", "paged|", "corrpo_")


def takes_attention_function(model: nn.Module) -> bool:
    """Whether the model takes its attention function from transformers' AttentionInterface.

    And whether it is one that computes plain softmax attention there, not one that a user registered.
    """
    if attention_of_user(model):
        return False
    can_swap = getattr(model, "_can_set_attn_implementation", None)
    return hasattr(model, "set_attn_implementation") and can_swap is not None and can_swap()


def attention_of_user(model: nn.Module) -> str | None:
    """The name of an attention function of a model that is neither transformers', a hub kernel nor ours."""
    for module in model.modules():
        name = getattr(getattr(module, "config", None), "_attn_implementation", None)
        if isinstance(name, str) and not name.startswith(_SOFTMAX_ATTENTION) and "/" not in name:
            return name
    return None


@contextmanager
def replaced_attention(model: nn.Module, name: str, estimator: str, fitting: str) -> Iterator[None]:
    """Run `model` with the attention function registered as `name`, and give it back its own after.

    A model that does not take its function from transformers' AttentionInterface is refused; `fitting` names
    the estimators that do not need it to.
    """
    if not takes_attention_function(model):
        raise UnsupportedModelError(
            f"estimator {estimator!r} replaces the attention function, and {type(model).__name__} does not "
            f"take its own from transformers' AttentionInterface; use {fitting}"
        )
    configs = _attention_configs(model)
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        model.set_attn_implementation(name)  # pyright: ignore[reportCallIssue]
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


def _attention_configs(model: nn.Module) -> dict[int, Any]:
    configs = (getattr(module, "config", None) for module in model.modules())
    return {id(config): config for config in configs if hasattr(config, "_attn_implementation")}
