"""Tiny models written as GGUF files, by llama.cpp's own library and rules, beside the models themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config
from transformers.convert_slow_tokenizer import bytes_to_unicode

PROBE = "17 + 25 = 42;\n\n the hello, na\u00efve and nai\u0308ve\n"
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("1 7", "h e", "l l", "he ll", "Ġ t", "Ġt he", "Ċ Ċ")
TOKENS = (*SPECIAL, *bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES))
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BYTE_LEVEL = {
    "model": "gpt2",
    "pre": "qwen2",
    "tokens": list(TOKENS),
    "token_type": [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)),
    "merges": list(MERGES),
    "bos_token_id": 0,
    "eos_token_id": 2,
    "add_bos_token": False,
}
GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<end_of_turn>")
GEMMA_TOKENS = (
    *GEMMA_SPECIAL,
    *(f"<0x{byte:02X}>" for byte in range(256)),
    *("he", "ll", "hell", "\u2581t", "\u2581the"),
    *("\n", "\u2581", *"abcdefghijklmnopqrstuvwxyz0123456789,;=+"),
)
SENTENCEPIECE = {
    "model": "llama",
    "tokens": list(GEMMA_TOKENS),
    "token_type": [3] * len(GEMMA_SPECIAL) + [6] * 256 + [1] * (len(GEMMA_TOKENS) - len(GEMMA_SPECIAL) - 256),
    "scores": [0.0] * len(GEMMA_TOKENS),
    "bos_token_id": 2,
    "eos_token_id": 1,
    "unknown_token_id": 3,
    "padding_token_id": 0,
    "add_bos_token": True,
    "add_space_prefix": False,
}
SIZES: dict[str, Any] = {
    "vocab_size": len(TOKENS),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rope_parameters": {"rope_type": "default", "rope_theta": 50_000.0},
    "rms_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


GEMMA_SIZES = {
    "vocab_size": len(GEMMA_TOKENS),
    "rope_parameters": None,
    "num_hidden_layers": 6,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Tiny:
    """A tiny model of an architecture, and how llama.cpp writes it.

    Attributes:
        config: of transformers.
        tokenizer: what the file states of it.
        stored: a tensor as it is stored, from its GGUF name and its numbers.
    """

    config: Any
    tokenizer: dict[str, Any]
    stored: Callable[[str, np.ndarray], np.ndarray] = lambda _name, weights: weights

    def model(self) -> Any:
        """In eval mode, with random weights that are not those of initialisation: norms and biases too."""
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(self.config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return model


def _rows_by_pairs(name: str, weights: np.ndarray) -> np.ndarray:
    """llama.cpp keeps the rows of q and k that turn together side by side."""
    heads = {"attn_q": 4, "attn_k": 2}.get(name.split(".")[-2])
    if heads is None:
        return weights
    return weights.reshape(heads, 2, -1, weights.shape[-1]).swapaxes(1, 2).reshape(weights.shape)


def _norms_from_zero(name: str, weights: np.ndarray) -> np.ndarray:
    """Gemma's norms multiply by 1 + w; the file holds the sum."""
    return weights + 1 if name.endswith("norm.weight") else weights


TINY = {
    "llama": Tiny(
        LlamaConfig(**SIZES, tie_word_embeddings=False), BYTE_LEVEL | {"pre": "llama-bpe"}, _rows_by_pairs
    ),
    "qwen2": Tiny(Qwen2Config(**SIZES, tie_word_embeddings=True), BYTE_LEVEL),
    "gemma3": Tiny(
        Gemma3TextConfig(
            **SIZES | GEMMA_SIZES,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=8,
        ),
        SENTENCEPIECE,
        stored=_norms_from_zero,
    ),
}


def quantized(weights: np.ndarray, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    """As stored; what has one dimension stays float32."""
    return weights if weights.ndim == 1 else gguf.quants.quantize(weights, kind)


def write_gguf(
    path: Path,
    architecture: str = "qwen2",
    kind: str = "F32",
    *,
    model: Any = None,
    changes: dict[str, Any] | None = None,
    more: dict[str, np.ndarray] | None = None,
) -> Path:
    """A tiny model as a GGUF file.

    Args:
        path: of the file.
        architecture: of `TINY`.
        kind: of the matrices: F32, F16, Q8_0, ...
        model: in place of that of `TINY`.
        changes: keys of the metadata with other values; None leaves one out.
        more: further tensors, by name.
    """
    tiny = TINY[architecture]
    model = model or tiny.model()
    stored_as = gguf.GGMLQuantizationType[kind]
    stated = _metadata(architecture, kind) | (changes or {})
    writer = gguf.GGUFWriter(path, stated.pop("general.architecture", architecture))
    for key, value in stated.items():
        _add(writer, key, value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], model.config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        weights = tiny.stored(found, parameter.detach().float().numpy())
        as_stored = stored_as if weights.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(found, quantized(weights, as_stored), raw_dtype=as_stored)
    for name, weights in (more or {}).items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _metadata(architecture: str, kind: str) -> dict[str, Any]:
    config = TINY[architecture].config
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    of_model = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": rope["rope_theta"],
    }
    if architecture == "llama":
        of_model["rope.dimension_count"] = 16
    if architecture == "gemma3":
        of_model |= {"attention.key_length": 16, "attention.value_length": 16, "attention.sliding_window": 8}
    return (
        {f"{architecture}.{key}": value for key, value in of_model.items()}
        | {
            "tokenizer.chat_template": TEMPLATE,
            "general.file_type": gguf.LlamaFileType[f"MOSTLY_{kind}" if kind != "F32" else "ALL_F32"].value,
        }
        | {f"tokenizer.ggml.{key}": value for key, value in TINY[architecture].tokenizer.items()}
    )


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    if isinstance(value, list):
        writer.add_array(key, value)
    elif value is not None:
        kinds[type(value)](key, value)
