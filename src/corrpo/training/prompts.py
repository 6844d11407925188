"""Texts that cannot be trained on: TRL would encode them otherwise than we do, or they are too long."""

from collections.abc import Sequence
from typing import Any

from corrpo.errors import BadInputError
from corrpo.samples import Sample, appended_tokens, encode_prompt, ends_with_assistant


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


def check_prompt_room(
    where: str, prompts: Sequence[Any], tokenizer: Any, context: int | None, completion: int
) -> None:
    """Refuse prompts after which a response of `completion` tokens has no room in the model's context.

    A prompt is tokenized where it might be too long: no text has more tokens than bytes, and what a chat
    template adds is taken to be at most the whole of the first prompt.

    Raises:
        BadInputError: there is one; begins with `where` and the row.
    """
    if context is None:
        return

    def tokens(number: int) -> int:
        place = f"{where}, row {number}"
        return len(encode_prompt(Sample(str(number), prompts[number], where=place), tokenizer))

    added = tokens(0)
    for number, prompt in enumerate(prompts):
        text = prompt if isinstance(prompt, str) else "".join(map(str, (m["content"] for m in prompt)))
        if len(text.encode()) + added + completion <= context:
            continue
        length = tokens(number)
        if length + completion > context:
            raise BadInputError(
                f"{where}, row {number}: the prompt has {length:,} tokens, and with max_completion_length="
                f"{completion} that is more than the {context:,} of the model's context: lower "
                "max_completion_length, or leave the row out"
            )


def trace_lengths(where: str, rows: Any, most: int | None, context: int | None) -> list[str]:
    """What is to be said of traces that are cut, of rows as a trainer has tokenized them.

    Raises:
        BadInputError: no trace has anything left to learn from, or one is longer than the model's context.
    """
    lengths = [len(ids) for ids in rows["input_ids"]]
    if not lengths:
        raise BadInputError(
            f"{where}: max_length={most} leaves nothing of any trace but its prompt: give a larger max_length"
        )
    longest = max(lengths)
    if context is not None and longest > context:
        raise BadInputError(
            f"{where}: the longest trace has {longest:,} tokens, and the model reads {context:,} at most: "
            f"give max_length {context} to cut such traces, or leave them out"
        )
    cut = lengths.count(most) if most is not None else 0
    if not cut:
        return []
    return [
        f"{where}: {cut:,} of {len(lengths):,} traces fill max_length={most} and are cut there, which leaves "
        "them without their answer: give a larger max_length, or leave them out"
    ]
