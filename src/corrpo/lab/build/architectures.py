"""The architectures of the lab: a model of a family with random weights."""

from typing import Any

from corrpo.lab.build.settings import HEADS, WIDTH
from corrpo.lab.tokenizer import MAX_TOKENS


def new_model(family: str, vocabulary: int, seed: int, width: int = WIDTH) -> Any:
    """A randomly initialised float32 model of a family, 0.2M to 0.3M parameters if 80 wide, on the CPU.

    qwen2: grouped-query attention (4 heads, 2 key-value heads), biases, tied embeddings.
    llama: multi-head attention (4 heads), no biases, untied embeddings.
    mamba2: state-space mixers alone (4 heads, a state of 32), tied embeddings; no attention, no feed-forward.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    if family == "mamba2":
        return _new_mamba2(vocabulary, width)
    shared = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": 4,
        "num_attention_heads": HEADS,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": None,
    }
    if family == "qwen2":
        shared["intermediate_size"] = width * 224 // 80
        config = Qwen2Config(**shared, num_key_value_heads=2, tie_word_embeddings=True)
        return Qwen2ForCausalLM(config)
    shared["intermediate_size"] = width * 208 // 80
    config = LlamaConfig(**shared, num_key_value_heads=HEADS, tie_word_embeddings=False)
    return LlamaForCausalLM(config)


def _new_mamba2(vocabulary: int, width: int) -> Any:
    """Mamba-2 with mixers alone, in chunks that suit short sequences on a CPU."""
    from transformers import Mamba2Config, Mamba2ForCausalLM

    config = Mamba2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=4,
        num_heads=HEADS,
        head_dim=2 * width // HEADS,
        state_size=32,
        n_groups=1,
        chunk_size=32,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=True,
    )
    return Mamba2ForCausalLM(config)
