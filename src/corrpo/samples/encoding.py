"""Samples to token ids: the chat template, given responses, and the text of each token."""

from collections.abc import Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

from corrpo.errors import BadInputError
from corrpo.samples.chat_templates import render_chat
from corrpo.samples.fields import check_text
from corrpo.samples.loading import Sample

_LONGEST: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

Template = Literal["auto", "chat", "plain"]


class TooLongError(BadInputError):
    """A text has more characters than the tokens that it may have can hold."""


def encode_prompt(
    sample: Sample, tokenizer: Any, template: str = "auto", most: int | None = None
) -> list[int]:
    """Token ids of the prompt, up to where the response begins.

    Chat messages always go through the tokenizer's chat template; where the last one is the assistant's, the
    response continues it. A text prompt is one user message under "chat", is read as it stands (with the
    special tokens that the tokenizer puts before it, and none behind it) under "plain", and under "auto" is a
    user message where the tokenizer has a chat template and plain where it has none.

    Args:
        sample: the prompt's.
        tokenizer: of the model.
        template: auto, chat or plain.
        most: tokens that there is room for, None without a limit. A text that is too long for them is refused
            before it is tokenized, which takes seconds a megabyte.

    Raises:
        TooLongError: more characters than `most` tokens hold.
        BadInputError: a chat template is needed and there is none, or it refuses the messages or passes a
            limit, or the prompt gives no token; names the sample.
    """
    prompt = sample.prompt
    texts = [prompt] if isinstance(prompt, str) else [text for message in prompt for text in message.values()]
    check_characters(f"{sample.where}: the prompt", sum(map(len, texts)), tokenizer, most)
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if isinstance(prompt, str) and (template == "plain" or (template == "auto" and not has_template)):
        ids = tokenizer(prompt).input_ids
        ids = ids[: len(ids) - len(appended_tokens(tokenizer))]
    else:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if not has_template:
            raise BadInputError(
                f"{sample.where}: the prompt is a chat, and this model's tokenizer has no chat template; "
                "give the prompt as text (and --template plain), or use a model with a chat template"
            )
        try:
            text = render_chat(tokenizer, messages, continued=ends_with_assistant(messages))
        except BadInputError as error:
            raise BadInputError(f"{sample.where}: {error}") from error
        check_characters(f"{sample.where}: the prompt in the chat template", len(text), tokenizer, most)
        check_text(sample.where, "the prompt in the chat template", text, empty=True)
        ids = tokenizer(text, add_special_tokens=False).input_ids
    if not ids:
        raise BadInputError(f"{sample.where}: the prompt gives no token")
    return list(ids)


def check_characters(what: str, characters: int, tokenizer: Any, most: int | None) -> None:
    """Raise `TooLongError` if a text has more characters than `most` tokens hold, told by its length."""
    if most is None or characters <= most:
        return
    longest = longest_token(tokenizer)
    if characters > most * longest:
        raise TooLongError(
            f"{what} has {characters:,} characters; there is room for {most:,} tokens, which hold at most "
            f"{most * longest:,}: shorten it, or leave it out"
        )


def longest_token(tokenizer: Any) -> int:
    """The characters of the longest token of a vocabulary, found once for each tokenizer.

    A token of bytes counts as many as it has bytes, which no text of it exceeds.
    """
    if tokenizer not in _LONGEST:
        _LONGEST[tokenizer] = max(map(len, tokenizer.get_vocab()))
    return _LONGEST[tokenizer]


def ends_with_assistant(prompt: Any) -> bool:
    """Whether a prompt is a chat whose last message the assistant has begun.

    >>> ends_with_assistant([{"role": "assistant", "content": "<think>"}]), ends_with_assistant("<think>")
    (True, False)
    """
    return not isinstance(prompt, str) and prompt[-1]["role"] == "assistant"


def appended_tokens(tokenizer: Any) -> list[int]:
    """The special tokens that a tokenizer puts behind every text, as with add_eos_token; most put none."""
    text = tokenizer("a", add_special_tokens=False).input_ids
    ids = tokenizer("a").input_ids
    starts = range(len(ids) - len(text), -1, -1)
    start = next((start for start in starts if ids[start : start + len(text)] == text), starts[0])
    return list(ids[start + len(text) :])


def encode_response(sample: Sample, tokenizer: Any, most: int | None = None) -> list[int]:
    """Token ids of the given response, without special tokens around it; none for an empty one.

    Raises:
        TooLongError: more characters than `most` tokens hold.
    """
    check_characters(f"{sample.where}: the response", len(sample.response or ""), tokenizer, most)
    return list(tokenizer(sample.response, add_special_tokens=False).input_ids) if sample.response else []


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of each token by itself, special tokens included."""
    known = {token: tokenizer.decode([token], skip_special_tokens=False) for token in set(ids)}
    return [known[token] for token in ids]
