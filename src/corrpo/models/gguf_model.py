"""The model and the tokenizer of a GGUF file, built by transformers' reader and checked against the file.

The reader passes over what it does not know. So what a file states of its architecture is compared with the
config that the reader makes of it, and the numbers in the file are counted against those of the model; what
is left out is put right here, or refused.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from tokenizers.normalizers import NFC
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen2Tokenizer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from corrpo.errors import BadInputError, UnsupportedModelError, first_line
from corrpo.models.gguf import GgufFile
from corrpo.models.loading_errors import loading_told

_INSTEAD = "give the folder of the model that the file was made from"
_STATED = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope.dimension_count": "head_dim",
    "rope.freq_base": "rope_theta",
    "rope.freq_base_swa": "rope_theta of sliding_attention",
    "rope.scaling.type": "rope_type",
    "rope.scaling.factor": "factor",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}
"""What a file may state of its architecture, and the field of transformers' config that holds it."""
_SCALED_BY_WIDTH = {"gemma2": 46, "gemma3_text": 62}
"""Layers of the Gemma models (27B) whose attention scores are divided by the root of hidden_size over heads;
those of the others by the root of head_dim. No file states it: llama.cpp goes by these numbers, too."""
_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
_END_TEXTS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
)
"""Special tokens that end a response though no file says so: llama.cpp goes by these names, too."""
_ROPE_FACTORS = "rope_freqs.weight"
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Of Llama 3.1 to 3.3, as published. A file holds the factors of the frequencies that follow from them."""


@contextmanager
def _alone(file: GgufFile) -> Iterator[dict[str, str]]:
    """Keywords of `from_pretrained` that name a GGUF file, and nothing that lies beside it, read quickly."""
    import gguf
    from gguf import gguf_reader

    from corrpo.models.gguf_reader import ShortReader

    with TemporaryDirectory() as folder:
        link = Path(folder, "model.gguf")
        link.symlink_to(file.path.resolve())
        gguf.GGUFReader = ShortReader
        try:
            yield {"pretrained_model_name_or_path": folder, "gguf_file": str(link)}
        finally:
            gguf.GGUFReader = gguf_reader.GGUFReader


def read_config(file: GgufFile) -> Any:
    """The config of the causal LM in a GGUF file.

    Raises:
        BadInputError: the file states, or holds tensors for, what the model would not compute.
        UnsupportedModelError: an architecture that transformers does not read, or not a causal LM.
    """
    with loading_told(f"make a model of what {file.path} states", str(file.path)):
        return _checked_config(file)


def _checked_config(file: GgufFile) -> Any:
    blocks = file.stated(file.architecture).get("block_count")
    if isinstance(blocks, int) and blocks > len(file.tensors):  # transformers would list them all
        raise BadInputError(f"{file.path} states {blocks:,} blocks and holds {len(file.tensors):,} tensors")
    try:
        with _alone(file) as named:
            config = AutoConfig.from_pretrained(**named)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnsupportedModelError(f"{file.path}: {first_line(error)} For now, {_INSTEAD}") from error
    if type(config) not in AutoModelForCausalLM._model_mapping:
        raise UnsupportedModelError(f"{file.path} is a {config.model_type} model, which is not a causal LM")
    config.name_or_path = str(file.path)
    vars(config).pop("_model_name_or_path", None)  # the title in the file
    _set_attention_scale(config)
    scaled = _set_rope_scaling(file, config)
    _check_statements(file, config)
    _check_sizes(file, config, leave_out={_ROPE_FACTORS} if scaled else set())
    return config


def _set_attention_scale(config: Any) -> None:
    if config.model_type in _SCALED_BY_WIDTH:
        by_width = config.num_hidden_layers == _SCALED_BY_WIDTH[config.model_type]
        width = config.hidden_size // config.num_attention_heads
        config.query_pre_attn_scalar = width if by_width else config.head_dim


def _rope(config: Any, kind: str = "full_attention") -> dict[str, Any]:
    """The parameters of the rotary embedding, of one kind of layer where kinds differ; empty without one."""
    parameters = getattr(config, "rope_parameters", None) or {}
    return parameters.get(kind, parameters)


def _set_rope_scaling(file: GgufFile, config: Any) -> bool:
    """Put a linear scaling, or that of Llama 3, into the config; True if the file's factors are in it."""
    stated = file.stated(f"{file.architecture}.rope.scaling")
    if stated.get("type") == "linear":
        factor = stated.get("factor")
        if not isinstance(factor, int | float) or not factor > 0:
            raise BadInputError(f"{file.path} scales its rotary positions by {factor!r}; {_INSTEAD}")
        _rope(config).update(rope_type="linear", factor=factor)
    if _ROPE_FACTORS not in file.shapes or file.architecture != "llama":
        return False
    stored = next(tensor for tensor in file.tensors if tensor.name == _ROPE_FACTORS)
    factors = torch.from_numpy(stored.data.copy())
    plain = 1 / _rope(config)["rope_theta"] ** (torch.arange(len(factors)) / len(factors))
    scaling = {**_rope(config), **_LLAMA3, "rope_type": "llama3", "factor": float(factors.max())}
    config.rope_parameters = scaling
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](config)
    if not torch.allclose(plain / frequencies, factors, rtol=1e-4):
        raise BadInputError(
            f"{file.path} scales its rotary frequencies in a way that is not that of Llama 3; {_INSTEAD}"
        )
    return True


def _check_statements(file: GgufFile, config: Any) -> None:
    """Refuse a file that states something of its architecture that the config does not hold."""
    rope, sliding = _rope(config), _rope(config, "sliding_attention")
    fields = {
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        "rope_theta": rope.get("rope_theta"),
        "rope_theta of sliding_attention": sliding.get("rope_theta"),
        "rope_type": "none" if rope.get("rope_type") == "default" else rope.get("rope_type"),
        "factor": rope.get("factor"),
    }
    for key, value in file.stated(file.architecture).items():
        field = _STATED.get(key)
        known = None if field is None else fields.get(field, getattr(config, field, None))
        same = known == value or (
            isinstance(value, float) and isinstance(known, float) and math.isclose(known, value, rel_tol=1e-6)
        )
        if not same:
            raise BadInputError(
                f"{file.path} states {file.architecture}.{key} = {value}, and the model that transformers "
                f"makes of it has {'no such thing' if known is None else f'{field} = {known}'}; {_INSTEAD}"
            )


def _check_sizes(file: GgufFile, config: Any, leave_out: set[str]) -> None:
    """Refuse a file with more or fewer numbers than its model: tensors that are left out change the model."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    held = {name: math.prod(shape) for name, shape in file.shapes.items() if name not in leave_out}
    numbers, expected = sum(held.values()), sum(parameter.numel() for parameter in model.parameters())
    if numbers != expected:
        kind = next(kind for kind, name in MODEL_ARCH_NAMES.items() if name == file.architecture)
        names = get_tensor_name_map(kind, config.num_hidden_layers)
        known = {names.get_name(name, (".weight", ".bias")) for name, _ in model.named_parameters()}
        some = ", ".join(sorted(set(held) - known)[:3])
        raise BadInputError(
            f"{file.path} holds {numbers:,} weights, and {type(model).__name__} of its config has "
            f"{expected:,}{f'; look at {some}' if some else ''}; {_INSTEAD}"
        )


def read_tokenizer(file: GgufFile) -> Any:
    """The tokenizer of a GGUF file, with its chat template if it holds one.

    Raises BadInputError on a kind of tokenizer that transformers does not read.
    """
    try:
        with _alone(file) as named:
            tokenizer = AutoTokenizer.from_pretrained(**named)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise BadInputError(
            f"cannot read the tokenizer of {file.path}: {first_line(error)}; {_INSTEAD}"
        ) from error
    tokenizer.name_or_path = str(file.path)
    if isinstance(tokenizer, Qwen2Tokenizer):  # the reader puts another's text processing in place of its own
        tokenizer.backend_tokenizer.normalizer = NFC()
    return tokenizer


def generation_config(file: GgufFile, tokenizer: Any) -> GenerationConfig:
    """What ends a response: the tokens that the file states, and special ones of well-known names."""
    tokens = file.stated("tokenizer.ggml")
    stated = {tokens[key] for key in _ENDS if key in tokens}
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    known = {number for number in special if tokenizer.convert_ids_to_tokens(number) in _END_TEXTS}
    return GenerationConfig(
        bos_token_id=tokens.get("bos_token_id"),
        eos_token_id=sorted(stated | known),
        pad_token_id=tokens.get("padding_token_id"),
    )


def load_gguf(
    file: GgufFile, config: Any, *, dtype: str, device_map: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """The causal LM of a GGUF file, dequantized, and transformers' report of the weights that it found.

    The model is an ordinary one of its class, which can be saved; `model.gguf` is what `GgufFile.record`
    gives.

    Args:
        file: of `open_gguf`.
        config: of `read_config`.
        dtype: of the weights; float32 for "auto".
        device_map: of accelerate, to spread the model over GPUs.
    """
    from transformers import GgufConfig

    shown = nullcontext() if transformers.logging.is_progress_bar_enabled() else redirect_stderr(StringIO())
    spread = {} if device_map is None else {"device_map": device_map}
    with _alone(file) as named, shown:  # the reader's bar heeds no setting
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            **named,
            config=config,
            dtype=dtype,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **spread,
        )
    model, report = loaded
    model.name_or_path = model.config.name_or_path = str(file.path)
    model.gguf = file.record()
    return model, report
