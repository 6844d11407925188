"""The fields of a sample in a record, whatever its columns are called: prompt, response and answer.

Known forms: prompt with response or completion, also as TRL writes them (chat messages in both); problem or
question with answer or solution; messages; conversations of ShareGPT ({"from", "value"}); contents of chat
messages in parts ({"type": "text", "text"}).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corrpo.errors import BadInputError, did_you_mean
from corrpo.samples.options import SampleOptions

Prompt = str | list[dict[str, str]]

CHATS = ("messages", "conversations")
"""Columns of whole chats: the last turn, if it is the assistant's, is the response."""
PROMPTS = ("prompt", "problem", "question", "instruction", *CHATS)
RESPONSES = ("response", "completion")
ANSWERS = ("answer", "solution")
_SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}


@dataclass(frozen=True)
class Fields:
    """What a record holds.

    Attributes:
        prompt: text or chat messages.
        response: text; None for the model to write one.
        answer: the right answer as text; None if there is none.
        columns: the names of the columns that the three were taken from, None for what there is not.
    """

    prompt: Prompt
    response: str | None
    answer: str | None
    columns: tuple[str | None, str | None, str | None]


def fields_of(where: str, record: Any, options: SampleOptions) -> Fields:
    """The fields of a record.

    Raises:
        BadInputError: no object, no prompt in it, or a field of another type; names where and the field.
    """
    if not isinstance(record, Mapping):
        raise BadInputError(f"{where}: expected an object with a prompt, not {type(record).__name__}")
    column = _column(where, record, "prompt", options.prompt_column, PROMPTS)
    if column is None:
        raise BadInputError(
            f'{where}: "prompt" is missing; expected text or a list of chat messages. There are '
            f"{_listed(record)}; name another column with --prompt-column"
        )
    prompt, response = _prompt(where, column, record[column]), None
    response_column = _column(where, record, "response", options.response_column, RESPONSES)
    if response_column is not None:
        response = _response(where, response_column, record[response_column])
    elif column in CHATS and isinstance(prompt, list) and prompt[-1]["role"] == "assistant" and prompt[1:]:
        *prompt, last = prompt
        response, response_column = last["content"], f"the last turn of {column}"
    answer_column = _column(where, record, "answer", options.answer_column, ANSWERS)
    answer = None if answer_column is None else _answer(where, answer_column, record[answer_column])
    return Fields(prompt, response, answer, (column, response_column, answer_column))


def _listed(record: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, record)) or "no fields"


def _column(
    where: str, record: Mapping[str, Any], what: str, named: str | None, known: tuple[str, ...]
) -> str | None:
    """The column that is named, or else the first known one that holds something."""
    if named is None:
        return next((name for name in known if record.get(name) is not None), None)
    if named not in record:
        hint = did_you_mean(named, record)
        raise BadInputError(f"{where}: there is no {what} column {named!r}, only {_listed(record)}{hint}")
    return named if record[named] is not None else None


def _prompt(where: str, name: str, value: Any) -> Prompt:
    if isinstance(value, str):
        return check_text(where, name, value)
    if not isinstance(value, list | tuple) or not len(value):
        raise BadInputError(f'{where}: "{name}" must be text or a list of chat messages, at least one')
    return [_message(where, name, number, message) for number, message in enumerate(value)]


def _message(where: str, name: str, number: int, message: Any) -> dict[str, str]:
    """A chat message {"role", "content"}, of ShareGPT's {"from", "value"} too."""
    what = f'message {number} of "{name}"'
    if not isinstance(message, Mapping):
        raise BadInputError(f'{where}: {what} needs a text "role" and a text "content"')
    if "from" in message and "value" in message:
        speaker = message["from"]
        message = {"role": _SPEAKERS.get(str(speaker), speaker), "content": message["value"]}
    content = _joined_parts(where, what, message.get("content"))
    if not isinstance(message.get("role"), str) or not isinstance(content, str):
        raise BadInputError(f'{where}: {what} needs a text "role" and a text "content"')
    return {
        "role": check_text(where, f"role of {what}", message["role"], empty=True),
        "content": check_text(where, f"content of {what}", content, empty=True),
    }


def _joined_parts(where: str, what: str, content: Any) -> Any:
    """The texts of a content in parts, joined; anything else as it is."""
    if not isinstance(content, list | tuple):
        return content
    kinds = [part.get("type") if isinstance(part, Mapping) else type(part).__name__ for part in content]
    if any(kind != "text" for kind in kinds):
        raise BadInputError(
            f"{where}: {what} has parts of type {', '.join(map(str, kinds))}; only text is measured"
        )
    return "".join(str(part.get("text", "")) for part in content)


def _response(where: str, name: str, value: Any) -> str:
    """A response as text, or as the one message of the assistant that TRL's completions are."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = _message(where, name, 0, value[0])["content"]
    if not isinstance(value, str):
        raise BadInputError(
            f'{where}: "{name}" must be text, or a list of one chat message, not '
            f"{type(value).__name__}{f' of {len(value)}' if isinstance(value, list | tuple) else ''}"
        )
    return check_text(where, name, value, empty=True)


def _answer(where: str, name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadInputError(f'{where}: "{name}" must be text or a number, not {type(value).__name__}')
    return check_text(where, name, str(value), empty=True)


def kept_prompt(text: str) -> Prompt:
    """A prompt as generations.parquet keeps it: chat messages are written as JSON, text stands as it is."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return read if isinstance(read, list) and read and all(map(is_message, read)) else text


def is_message(value: Any) -> bool:
    """Whether a value is one message of a chat, {"role", "content"} in text."""
    return isinstance(value, Mapping) and all(isinstance(value.get(k), str) for k in ("role", "content"))


def check_text(where: str, name: str, text: str, *, empty: bool = False) -> str:
    """The text, if a tokenizer can read it.

    Raises:
        BadInputError: it is empty (unless that is allowed), or holds a lone surrogate.
    """
    if not text and not empty:
        raise BadInputError(f'{where}: "{name}" is empty')
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInputError(
            f'{where}: "{name}" holds a lone surrogate at character {error.start}, which no tokenizer reads'
        ) from error
    return text
