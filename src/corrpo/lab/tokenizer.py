"""The lab's character tokenizer: printable ASCII, chat markers, and one token per reasoning tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN, USER, ASSISTANT = MARKERS = ("<pad>", "<eos>", "<unk>", "<user>", "<assistant>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CHARACTERS = tuple("\n" + "".join(chr(code) for code in range(32, 127)))
BYTE_NAMES = str.maketrans({"\n": "Ċ", " ": "Ġ"})  # how byte-level vocabularies write the two
MAX_TOKENS = 256

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{- '" + ASSISTANT + "' -}}"
    "{%- generation -%}{{- message['content'] + '" + EOS + "' -}}{%- endgeneration -%}"
    "{%- else -%}"
    "{{- '" + USER + "' + message['content'] -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + ASSISTANT + "' -}}{%- endif -%}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Make the tokenizer: 5 markers, 4 tags, newline and the 95 printable ASCII characters.

    It is a byte-level BPE without merges. That form, and not a word-level one, because AutoTokenizer
    loads whatever lies beside a qwen2 model into that pipeline. As there, a character outside the
    vocabulary is dropped. The markers are special tokens; the tags are not, so that text decoded with
    `skip_special_tokens=True`, as trainers decode it for reward functions, keeps them.

    >>> tokenizer = build_tokenizer()
    >>> tokenizer.tokenize("<think>1+1=2</think>")
    ['<think>', '1', '+', '1', '=', '2', '</think>']
    >>> tokenizer.decode(tokenizer.encode("<answer>a b é</answer><eos>"), skip_special_tokens=True)
    '<answer>a b </answer>'
    >>> chat = [{"role": "user", "content": "Hi."}]
    >>> tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    '<user>Hi.<assistant>'
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    in_bytes = (character.translate(BYTE_NAMES) for character in CHARACTERS)
    vocabulary = {token: index for index, token in enumerate((*MARKERS, *TAGS, *in_bytes))}
    core = Tokenizer(models.BPE(vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_TOKENS,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def chat_prompt(request: str) -> list[dict[str, str]]:
    """A one-turn chat: the messages that lead to the assistant's reply.

    >>> chat_prompt("Hi.")
    [{'role': 'user', 'content': 'Hi.'}]
    """
    return [{"role": "user", "content": request}]
