"""Samples to token ids: the chat template, given responses, and the text of each token."""

from collections.abc import Sequence
from typing import Any, Literal

from corrpo.errors import BadInputError
from corrpo.samples.loading import Sample

Template = Literal["auto", "chat", "plain"]


def encode_prompt(sample: Sample, tokenizer: Any, template: str = "auto") -> list[int]:
    """Token ids of the prompt, up to where the response begins.

    Chat messages always go through the tokenizer's chat template; where the last one is the assistant's, the
    response continues it. A text prompt is one user message under "chat", is read as it stands (with the
    special tokens that the tokenizer puts before it, and none behind it) under "plain", and under "auto" is a
    user message where the tokenizer has a chat template and plain where it has none.

    Raises:
        BadInputError: a chat template is needed and there is none, or it refuses the messages, or the
            prompt gives no token; names the sample.
    """
    prompt = sample.prompt
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
            continued = ends_with_assistant(messages)
            ids = tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=not continued,
                continue_final_message=continued,
                return_dict=False,
            )
        except Exception as error:  # templates raise what they like; it is passed on with the sample's name
            raise BadInputError(f"{sample.where}: the chat template refuses the prompt: {error}") from error
    if not ids:
        raise BadInputError(f"{sample.where}: the prompt gives no token")
    return list(ids)


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


def encode_response(sample: Sample, tokenizer: Any) -> list[int]:
    """Token ids of the given response, without special tokens around it; none for an empty one."""
    return list(tokenizer(sample.response, add_special_tokens=False).input_ids) if sample.response else []


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of each token by itself, special tokens included."""
    known = {token: tokenizer.decode([token], skip_special_tokens=False) for token in set(ids)}
    return [known[token] for token in ids]
