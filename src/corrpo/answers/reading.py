"""What a response answers: the text of a completion, and the final answer in it.

The answer of a response is what stands in its last `<answer>...</answer>`, or, where it has none, in its last
`\\boxed{...}`, or else what it names as its answer in a sentence. All of it is plain text work in linear
time: no expression is evaluated and no number is converted, so that hostile text costs nothing.
"""

import re
from collections.abc import Sequence
from typing import Any

from corrpo.errors import BadInputError

Completion = str | list[dict[str, Any]]

_ANSWER_TAG = re.compile(r"(</?answer>)")
_BRACE = re.compile(r"\\f?box(?:ed)?\s*\{|\\.|[{}]", re.DOTALL)
_PLACEHOLDER = re.compile(
    r"(?:[\s.…?_$]|\\[lc]?dots|\\square|\\_|\\(?:text|mathrm)\s*\{\s*\}|\\[ ,;]"
    r"|(?i:\\text\s*\{(?=[^{}]*answer)\s*(?:your |final |the |my )*answer(?: here)?\s*\}"
    r"|(?<![a-z])(?:your |final |the |my )*answer(?: here)?(?![a-z])))*"
)
_VARIABLE = r"(?:[A-Za-z](?:_\{?\w{1,3}\}?)?\s*=)"
_JOINT = re.compile(
    rf"(?:[\s$,;&(){{}}~]|\\[()\[\],;: ]|\\text\s*\{{|\\q?quad|{_VARIABLE}"
    r"|(?i:and|or|also|maybe|perhaps|possibly|either|else|alternatively)\b)+"
)
LONGEST_JOINT = 80
"""Characters between two boxes beyond which they make no list."""
_NAMED = re.compile(r"(?i:\banswer\b[^.\n:=]{0,60}?(?:\bis\b|:|=|\*\*\s*\n))[:*\s]*|####")
_DELIMITED = re.compile(r"\$\$?[^$]+\$\$?|\\\((?:[^\\]|\\(?!\)))+\\\)|\\\[(?:[^\\]|\\(?!\]))+\\\]")
_SENTENCE_END = re.compile(r"[.?]?\s*\n|[.?](?:\s|$)")
LONGEST_NAMED = 2100
"""Characters of a sentence that are looked at for the answer it names."""


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
    """The text in the last `<answer>...</answer>` that closes and is not empty, or None.

    >>> tagged_answer("<answer>1</answer> no: <answer> 2 </answer> <answer>3")
    ' 2 '
    """
    pieces = _ANSWER_TAG.split(text)
    for index in range(len(pieces) - 4, 0, -2):
        is_closed = pieces[index] == "<answer>" and pieces[index + 2] == "</answer>"
        if is_closed and pieces[index + 1].strip():
            return pieces[index + 1]
    return None


def boxed_answer(text: str) -> str | None:
    r"""The text in the \boxed{...} that opens last; of boxes that make a list, the texts with commas between.

    Only boxes that close and say something count: one that is empty or holds a placeholder hides no other.
    Boxes make a list if nothing but commas, "and", "or" and the like stands between. Braces inside are
    balanced; \{ and \} are not braces.

    >>> boxed_answer(r"so \boxed{1}. Or rather \boxed{\frac{1}{2}}, as in \boxed{...}")
    '\\frac{1}{2}'
    >>> boxed_answer(r"Before, \boxed{5}. The roots are $x=\boxed{1}$ and $x=\boxed{2}$.")
    '1, 2'
    """
    boxes = [box for box in _boxes(text) if not _PLACEHOLDER.fullmatch(text[box[1] : box[2]])]
    if not boxes:
        return None
    start, *last = boxes.pop()
    answers = [text[slice(*last)]]
    for outer, inner, end in reversed(boxes):
        joint = text[end + 1 : start] if end < start else ""
        if len(joint) > LONGEST_JOINT or not joint or not _JOINT.fullmatch(joint):
            break
        answers.append(text[inner:end])
        start = outer
    distinct = dict.fromkeys(reversed(answers))
    return ", ".join(distinct) if len(distinct) > 1 else answers[0]


def _boxes(text: str) -> list[tuple[int, int, int]]:
    """Of each box that closes its start, the start of what is inside and the end of that, by the second."""
    opened: list[tuple[int, int] | None] = []
    boxes = []
    for brace in _BRACE.finditer(text):
        token = brace.group()
        if token.endswith("{") and token[:2] != "\\{":
            opened.append((brace.start(), brace.end()) if token != "{" else None)
        elif token == "}" and opened:
            start = opened.pop()
            if start is not None:
                boxes.append((*start, brace.start()))
    return sorted(boxes, key=lambda box: box[1])


def named_answer(text: str) -> str | None:
    """What a sentence or line names as the answer, of several the last: "The answer is 42." or "#### 42".

    >>> named_answer("I add them. The final answer is 42. I hope it is correct."), named_answer("So 42")
    ('42', None)
    """
    *_, start = (-1, *(name.end() for name in _NAMED.finditer(text)))
    if start < 0:
        return None
    rest = text[start : start + LONGEST_NAMED].lstrip(" *")
    delimited = _DELIMITED.match(rest)
    sentence = delimited.group() if delimited else _SENTENCE_END.split(rest.lstrip(), maxsplit=1)[0]
    return sentence.strip() or None


def final_answer(text: str) -> str | None:
    """What a response answers: the first there is of `tagged_answer`, `boxed_answer` and `named_answer`."""
    for find in (tagged_answer, boxed_answer, named_answer):
        answer = find(text)
        if answer is not None:
            return answer
    return None
