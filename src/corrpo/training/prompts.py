"""Prompts that TRL would encode otherwise than `corrpo.samples.encode_prompt` are refused."""

from collections.abc import Sequence
from typing import Any

from corrpo.errors import BadInputError
from corrpo.samples import appended_tokens, ends_with_assistant


def check_turn(where: str, prompt: Any) -> None:
    """Refuse a chat that ends with the assistant.

    Raises:
        BadInputError: it does; begins with `where`.
    """
    if ends_with_assistant(prompt):
        raise BadInputError(
            f"{where}: the chat ends with the assistant, and TRL would end that message and begin another "
            "one: end prompts with the user, and let the chat template begin the reply"
        )


def check_text(where: str, tokenizer: Any) -> None:
    """Refuse a tokenizer that puts tokens behind every text, for prompts or traces that are text.

    Raises:
        BadInputError: it does; begins with `where`.
    """
    appended = appended_tokens(tokenizer)
    if appended:
        raise BadInputError(
            f"{where}: the tokenizer puts {tokenizer.decode(appended)!r} behind every text, and so between "
            'prompt and response: set "add_eos_token": false in its tokenizer_config.json (or take it out of '
            "the post_processor of its tokenizer.json), or train on chat messages"
        )


def check_prompts(prompts: Sequence[Any], tokenizer: Any) -> None:
    """Refuse prompts of a batch, text or chat messages, for either reason.

    Raises:
        BadInputError: see `check_turn` and `check_text`.
    """
    for prompt in prompts:
        check_turn("a prompt", prompt)
    if any(isinstance(prompt, str) for prompt in prompts):
        check_text("a prompt is text", tokenizer)
