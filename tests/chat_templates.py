"""Chat templates made up for tests, and a tokenizer that puts its end of sequence behind every text."""

from tokenizers import processors

from corrpo.lab.tokenizer import ASSISTANT, CHAT_TEMPLATE, EOS, USER, build_tokenizer

_TURNS = CHAT_TEMPLATE[: CHAT_TEMPLATE.rindex("{%- if add_generation_prompt")]


def _beginning(text: str) -> str:
    return _TURNS + "{%- if add_generation_prompt -%}{{- '" + text + "' -}}{%- endif -%}"


OPENS = _beginning(ASSISTANT + r"<think>\n")
"""Opens the thinking, as that of DeepSeek-R1."""
CLOSES = _beginning(ASSISTANT + r"<think>\n\n</think>\n\n")
"""Opens and closes it, as that of Qwen3 without thinking."""
OPENS_ALWAYS = _TURNS + "{{- '" + ASSISTANT + "<think>' -}}"
"""Begins the assistant's turn whether that is asked for or not."""
AS_ASKED = (
    _beginning(ASSISTANT) + "{%- if thinking and add_generation_prompt -%}{{- '<think>' -}}{%- endif -%}"
)
"""Opens the thinking where `thinking` is given."""
DROPS_THINKING = _TURNS.replace("message['content'] +", "message['content'].split('</think>')[-1] +")
"""Leaves out the thinking of the assistant's messages."""


def ending_tokenizer():
    """The lab's tokenizer, with the user's marker before every text and the end of sequence behind it."""
    tokenizer = build_tokenizer()
    marks = [(mark, tokenizer.convert_tokens_to_ids(mark)) for mark in (USER, EOS)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{USER} $A {EOS}", special_tokens=marks
    )
    return tokenizer
