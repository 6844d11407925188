"""The shapes that costs depend on: of a model, from its transformers config, and of what is measured."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from corrpo.errors import BadInputError, UnsupportedModelError

KNOWN = (
    "deepseek_v3",
    "gemma2",
    "gemma3_text",
    "llama",
    "mistral",
    "mixtral",
    "olmo2",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
)
"""Values of `config.model_type` whose matrices are known here."""


@dataclass(frozen=True)
class Map:
    """A linear map, d_in to d_out features."""

    d_in: int
    d_out: int

    @property
    def weights(self) -> int:
        """Entries of its matrix."""
        return self.d_in * self.d_out


@dataclass(frozen=True)
class Block:
    """One decoder block.

    Attributes:
        projections: the measured maps by name, "q", "k", "v", "o".
        entry: weights between the block's input and queries, keys and values: the measured "q", "k", "v", and
            whatever compresses the input before them (multi-head latent attention).
        active: weights of the feed-forward part that one token meets, router and shared experts with it.
        all: weights of the feed-forward part.
        inner: inner features of the feed-forward part that one token meets, over all its experts.
        chosen: experts that a token is routed to; 0 in a dense block.
    """

    projections: dict[str, Map]
    entry: int
    active: int
    all: int
    inner: int
    chosen: int = 0

    @property
    def mixer(self) -> int:
        """Weights of the attention."""
        return self.entry + self.projections["o"].weights


@dataclass(frozen=True)
class ModelShape:
    """A causal LM with gated feed-forward parts (gate, up, down), dense or mixtures of experts.

    Biases and norms are left out: they are less than a thousandth of the weights.

    Attributes:
        name: for tables.
        hidden: width d of the residual stream.
        heads: query heads H of a layer.
        kv_heads: key-value heads; H for latent attention, whose keys and values are made for every head.
        qk_dim: features of a query or key of one head.
        v_dim: features of a value of one head.
        vocabulary: tokens.
        tied: whether the head shares the embedding's matrix.
        blocks: from the first to the last.
        weight_bytes: bytes of one weight.
    """

    name: str
    hidden: int
    heads: int
    kv_heads: int
    qk_dim: int
    v_dim: int
    vocabulary: int
    tied: bool
    blocks: tuple[Block, ...]
    weight_bytes: float = 2.0

    @cached_property
    def block_weights(self) -> int:
        """Weights of all blocks."""
        return sum(block.mixer + block.all for block in self.blocks)

    @cached_property
    def active_weights(self) -> int:
        """Weights of all blocks that one token meets."""
        return sum(block.mixer + block.active for block in self.blocks)

    @cached_property
    def weights(self) -> int:
        """All weights: blocks, embedding and head."""
        return self.block_weights + (1 if self.tied else 2) * self.vocabulary * self.hidden

    def upper(self, layers: int | None) -> "ModelShape":
        """The same model with its `layers` last blocks alone, or with all for None."""
        return self if layers is None else replace(self, blocks=self.blocks[-layers:])

    @classmethod
    def from_config(cls, config: Any, name: str = "", weight_bytes: float = 2.0) -> "ModelShape":
        """The shape of the model that a transformers config describes.

        Args:
            config: of one of the model types in `KNOWN`, or one that holds such a text config.
            name: for tables; the model type if not given.
            weight_bytes: 2 for bfloat16 and float16, 4 for float32, 1 and 0.5 for 8 and 4 bits.

        Raises:
            UnsupportedModelError: another model type.

        >>> from transformers import Qwen2Config
        >>> config = Qwen2Config(vocab_size=152_064, hidden_size=3584, intermediate_size=18_944,
        ...     num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4)
        >>> shape = ModelShape.from_config(config)
        >>> f"{shape.weights / 1e9:.2f} billion weights, {len(shape.blocks)} blocks"
        '7.62 billion weights, 28 blocks'
        """
        text = config.get_text_config()
        if text.model_type not in KNOWN:
            raise UnsupportedModelError(
                f"the matrices of model type {text.model_type!r} are not known to the cost model; expected "
                f"one of {', '.join(KNOWN)}. Describe the model as a ModelShape to have its costs"
            )
        heads = text.num_attention_heads
        latent = text.model_type == "deepseek_v3"
        width = getattr(text, "head_dim", None) or text.hidden_size // heads
        return cls(
            name=name or text.model_type,
            hidden=text.hidden_size,
            heads=heads,
            kv_heads=heads if latent else text.num_key_value_heads,
            qk_dim=text.qk_nope_head_dim + text.qk_rope_head_dim if latent else width,
            v_dim=text.v_head_dim if latent else width,
            vocabulary=text.vocab_size,
            tied=bool(text.tie_word_embeddings),
            blocks=tuple(_block(text, layer, latent, width) for layer in range(text.num_hidden_layers)),
            weight_bytes=weight_bytes,
        )


def _block(text: Any, layer: int, latent: bool, width: int) -> Block:
    maps, compression = _latent_maps(text) if latent else (_separate_maps(text, width), 0)
    entry = compression + sum(maps[kind].weights for kind in "qkv")
    return Block(maps, entry, *_feed_forward(text, layer))


def _separate_maps(text: Any, width: int) -> dict[str, Map]:
    d, queries, keys = text.hidden_size, text.num_attention_heads * width, text.num_key_value_heads * width
    return {"q": Map(d, queries), "k": Map(d, keys), "v": Map(d, keys), "o": Map(queries, d)}


def _latent_maps(text: Any) -> tuple[dict[str, Map], int]:
    """Latent attention: queries and keys-values from compressed inputs; and the weights that compress."""
    d, heads = text.hidden_size, text.num_attention_heads
    query = heads * (text.qk_nope_head_dim + text.qk_rope_head_dim)
    compression = d * (text.kv_lora_rank + text.qk_rope_head_dim)
    maps = {
        "q": Map(text.q_lora_rank or d, query),
        "k": Map(text.kv_lora_rank, heads * text.qk_nope_head_dim),
        "v": Map(text.kv_lora_rank, heads * text.v_head_dim),
        "o": Map(heads * text.v_head_dim, d),
    }
    return maps, compression + (d * text.q_lora_rank if text.q_lora_rank else 0)


def _feed_forward(text: Any, layer: int) -> tuple[int, int, int, int]:
    """Weights that a token meets, all weights, inner features and routed experts that a token meets."""
    d = text.hidden_size
    kind = text.model_type
    if kind == "mixtral":
        experts, chosen, width, shared = text.num_local_experts, text.num_experts_per_tok, None, 0
    elif kind == "deepseek_v3" and layer >= text.first_k_dense_replace:
        experts, chosen, width = text.n_routed_experts, text.num_experts_per_tok, text.moe_intermediate_size
        shared = text.n_shared_experts * width
    elif kind in ("qwen2_moe", "qwen3_moe") and _has_experts(text, layer):
        experts, chosen, width = text.num_experts, text.num_experts_per_tok, text.moe_intermediate_size
        shared = text.shared_expert_intermediate_size if kind == "qwen2_moe" else 0
    else:
        dense = 3 * d * text.intermediate_size
        return dense, dense, text.intermediate_size, 0
    width = text.intermediate_size if width is None else width
    router = d * experts + (d if kind == "qwen2_moe" else 0)
    inner = chosen * width + shared
    return 3 * d * inner + router, 3 * d * (experts * width + shared) + router, inner, chosen


def _has_experts(text: Any, layer: int) -> bool:
    """Whether a Qwen MoE layer has experts: its configs can leave some layers dense."""
    return layer not in text.mlp_only_layers and (layer + 1) % text.decoder_sparse_step == 0


@dataclass(frozen=True)
class Workload:
    """One response to be measured.

    Attributes:
        prompt: tokens before the response, at least 1.
        response: tokens of the response.
        targets: how many of them are measured (`--max-tokens`), evenly spread; all for None.
        layers: how many upper layers are measured (`--layers`); all for None.

    Raises:
        BadInputError: a number out of its range.
    """

    prompt: int
    response: int
    targets: int | None = None
    layers: int | None = None

    def __post_init__(self) -> None:
        chosen = [limit for limit in (self.targets, self.layers) if limit is not None]
        if min(self.prompt, self.response, *chosen) < 1:
            raise BadInputError(f"{self}: expected whole numbers of 1 or more")

    @cached_property
    def positions(self) -> list[int]:
        """Where the targets stand in the sequence, ascending; the prefix of each is as long.

        >>> Workload(prompt=4, response=6, targets=3).positions
        [5, 7, 9]
        """
        n = self.response if self.targets is None else min(self.targets, self.response)
        return [self.prompt + (i + 1) * self.response // n - 1 for i in range(n)]

    @property
    def length(self) -> int:
        """Tokens read: the last target's own token is not."""
        return self.positions[-1]
