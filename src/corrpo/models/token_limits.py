"""What a model takes: how many token ids it knows, and how many tokens it reads at once."""

from typing import Any

from torch import nn

from corrpo.errors import UnsupportedModelError


def vocabulary_size(model: nn.Module) -> int:
    """The rows of a causal LM's token embedding, beneath whatever an adapter has put around it.

    Raises:
        UnsupportedModelError: its tokens are embedded by something else than an nn.Embedding.

    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> vocabulary_size(LlamaForCausalLM(config))
    7
    """
    embedding = model.get_input_embeddings()  # pyright: ignore
    tables = [module for module in embedding.modules() if isinstance(module, nn.Embedding)]
    if not tables:
        raise UnsupportedModelError(
            f"{type(model).__name__} embeds its tokens by a {type(embedding).__name__}; expected an "
            "nn.Embedding"
        )
    return tables[0].num_embeddings


def context_length(model: Any) -> int | None:
    """The most tokens that a causal LM reads, prompt and response together; None without a limit."""
    return config_context(model.config)


def config_context(config: Any) -> int | None:
    """`context_length` of a model that has this config."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def position_limit(model: Any) -> int | None:
    """The most tokens that a causal LM can read at all; None where its positions are rotary or unlimited.

    A model that looks its positions up in a table (GPT-2, OPT) fails beyond its context. One whose config has
    `rope_parameters` reads on, if not well: what it writes there is to be cut.

    >>> from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
    >>> size = {"vocab_size": 7, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> position_limit(GPT2LMHeadModel(GPT2Config(n_positions=32, **size)))
    32
    >>> position_limit(LlamaForCausalLM(LlamaConfig(**size))) is None
    True
    """
    rotary = getattr(model.config.get_text_config(), "rope_parameters", None) is not None
    return None if rotary else context_length(model)
