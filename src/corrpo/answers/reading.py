"""What a response answers: the text of a completion, and the final answer in it.

The answer of a response is what stands in its last `<answer>...</answer>`, or, where it has none, in its last
`\\boxed{...}`. Everything here is plain text work in linear time: no expression is evaluated and no number is
converted, so that hostile text costs nothing.
"""

import re
from collections.abc import Sequence
from typing import Any

from corrpo.errors import BadInputError

Completion = str | list[dict[str, Any]]

_ANSWER_TAG = re.compile(r"(</?answer>)")
_BRACE = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)


def message_text(messages: Completion, role: str | None = None) -> str:
    """The text of a completion or prompt: a string as it is, of chat messages the last one's content.

    Args:
        messages: a string, or chat messages {"role", "content"}; content is a string, a list of parts of
            which those of type "text" count, or None (a message that only calls tools) for no text.
        role: look only at messages of this role; a message without a role counts. None for all.

    Raises:
        BadInputError: neither of the two forms.

    >>> message_text([{"role": "assistant", "content": "Hi"}, {"role": "tool", "content": "7"}], "assistant")
    'Hi'
    """
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadInputError(
            f"expected a string or a list of chat messages {{'role', 'content'}}, got {_shown(messages)}"
        )
    wanted = [message for message in messages if role is None or message.get("role", role) == role]
    content = wanted[-1].get("content") if wanted else None
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "".join(part.get("text", "") for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise BadInputError(f"expected text as the content of a chat message, got {_shown(content)}")
    return content or ""


def response_texts(completions: Sequence[Completion]) -> list[str]:
    """The text that each completion answers with: of chat messages, the last one by the assistant.

    Raises:
        BadInputError: see `message_text`; the message names the row.
    """
    texts = []
    for row, completion in enumerate(completions):
        try:
            texts.append(message_text(completion, "assistant"))
        except BadInputError as error:
            raise BadInputError(f"completion {row} of {len(completions)}: {error}") from error
    return texts


def given_answers(answer: Sequence[Any], rows: int) -> list[str]:
    """The right answers of a batch: one text for each of `rows` rows, none empty; an error names the row."""
    if len(answer) != rows:
        raise BadInputError(f"{len(answer)} answers for {rows} completions; expected one for each")
    for row, given in enumerate(answer):
        if not isinstance(given, str) or not given.strip():
            raise BadInputError(
                f"row {row} of {rows}: answer is {_shown(given)}; expected the right answer as text, "
                "numbers too ('17'). Give the row an answer or drop it"
            )
    return list(answer)


def _shown(value: object) -> str:
    return f"{repr(value)[:80]} ({type(value).__name__})"


def tagged_answer(text: str) -> str | None:
    """The text in the last complete `<answer>...</answer>`, or None. Tags that do not close are passed over.

    >>> tagged_answer("<answer>1</answer> no: <answer> 2 </answer> <answer>3")
    ' 2 '
    """
    pieces = _ANSWER_TAG.split(text)
    for index in range(len(pieces) - 4, 0, -2):
        if pieces[index] == "<answer>" and pieces[index + 2] == "</answer>":
            return pieces[index + 1]
    return None


def boxed_answer(text: str) -> str | None:
    r"""The text in the \boxed{...} that opens last among those that close, or None.

    Braces inside are balanced; \{ and \} are not braces.

    >>> boxed_answer(r"so \boxed{1}, or rather \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    opened: list[int | None] = []
    best: tuple[int, int] | None = None
    for brace in _BRACE.finditer(text):
        token = brace.group()
        if token.endswith("{") and token[:2] != "\\{":
            opened.append(brace.end() if token != "{" else None)
        elif token == "}" and opened:
            start = opened.pop()
            if start is not None and (best is None or start > best[0]):
                best = (start, brace.start())
    return None if best is None else text[best[0] : best[1]]


def final_answer(text: str) -> str | None:
    """What a response answers: `tagged_answer`, or without one `boxed_answer`, or None."""
    tagged = tagged_answer(text)
    return boxed_answer(text) if tagged is None else tagged
