"""What a response answers: the text of a completion, and the final answer in it.

The answer of a response is what stands in its last `<answer>...</answer>`, or, where it has none, in its last
`\\boxed{...}`, or else what it names as its answer in a sentence. All of it is plain text work in linear
time: no expression is evaluated and no number is converted, so that hostile text costs nothing.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    r"|(?i:and|or|also|maybe|perhaps|possibly|either|else|alternatively)\b)*"
)
_NAME = re.compile(rf"(?<![A-Za-z0-9\\}}]){_VARIABLE}\s*$")
_MINUS = re.compile(r"(?:^|[\s=:,(\[{$])[-−]\$?$")
"""A sign right before a box, which belongs to its number."""
_DENIED = re.compile(
    r"(?:\b(?:not|never|cannot|neither|nor|if|whether|unless|doubt|deny|wrong|incorrect|except|unlike|than"
    r"|instead of|anything but)|n['’]t|\\neq?|≠|!=)(?:\s+(?:be|equal|to|is|it|the|my|an?|that|think|believe"
    r"|say|sure|claim|exactly|simply|just|answer|value|result|right|correct|final|really))*[\s$\\(\[{:*]*$",
    re.IGNORECASE,
)
"""What before an answer says that it is none."""
_REFUTED = re.compile(
    r"[\s$*)\]\\]*(?:\?|(?:(?:is|was|would be|can)(?:\s*not|n['’]t)?|cannot)\s+(?:be\s+)?"
    r"(?:wrong|incorrect|false|(?<=not |n't )(?:the |a |my )?(?:right|correct|answer|solution|final)))",
    re.IGNORECASE,
)
"""What behind an answer says that it is none."""
LONGEST_REMARK = 80
"""Characters before and behind an answer that are looked at for such a remark."""
LONGEST_JOINT = 80
"""Characters between two boxes beyond which they make no list."""
_NAMED = re.compile(r"(?i:\banswer\b[^.\n:=]{0,60}?(?:\bis\b|:|=|\*\*\s*\n))[:*\s]*|####")
_DENIAL = re.compile(r"\b(?:not|never|cannot|wrong|incorrect)\b|n['’]t", re.IGNORECASE)
_DELIMITED = re.compile(r"\$\$?[^$]+\$\$?|\\\((?:[^\\]|\\(?!\)))+\\\)|\\\[(?:[^\\]|\\(?!\]))+\\\]")
_SENTENCE_END = re.compile(r"\.?\s*\n|\.(?:\s|$)|(?<=\?)\s")
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


def begun_response(prompt: Any) -> str:
    """What a response continues: the text of the assistant's message that a chat ends with, else nothing.

    >>> begun_response([{"role": "assistant", "content": "<think>"}]), begun_response("<think>")
    ('<think>', '')
    """
    if not isinstance(prompt, list) or not prompt or prompt[-1].get("role") != "assistant":
        return ""
    return message_text(prompt[-1:])


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

    Only boxes that close and say something count: one that is empty, holds a placeholder, or is denied by the
    words beside it hides no other. Of boxes in boxes the outermost counts. Boxes make a list if nothing but
    commas, "and", "or" and the like stands between; different names before them are part of it. Braces inside
    are balanced; \{ and \} are not braces.

    >>> boxed_answer(r"so \boxed{1}. Or rather \boxed{\frac{1}{2}}, as in \boxed{...}")
    '\\frac{1}{2}'
    >>> boxed_answer(r"Before, \boxed{5}. The roots are $x=\boxed{1}$ and $x=\boxed{2}$.")
    '1, 2'
    >>> boxed_answer(r"$x=\boxed{1}$ and $y=\boxed{2}$, not \boxed{5}"), boxed_answer(r"$-\boxed{6}$")
    ('x=1, y=2', '-6')
    """
    listed: list[_Box] = []
    for box in reversed(_boxes(text)):
        if not _is_meant(text, box):
            continue
        joint = slice(box.after, listed[-1].start if listed else box.after)
        if joint.stop - joint.start > LONGEST_JOINT or not _JOINT.fullmatch(text[joint]):
            break
        listed.append(box)
    listed.reverse()
    answers = [_signed(text, box) for box in listed]
    names = [_NAME.search(text[max(box.start - LONGEST_REMARK, 0) : box.start]) for box in listed]
    given = ["".join(name.group().split()) for name in names if name]
    if len(given) == len(listed) and len(set(given)) > 1:
        answers = [name + answer for name, answer in zip(given, answers, strict=True)]
    return ", ".join(dict.fromkeys(answers)) or None


def _signed(text: str, box: "_Box") -> str:
    """What is in a box, with a minus that stands right before it."""
    inside = text[box.inside]
    if not _MINUS.search(text[max(box.start - 3, 0) : box.start]):
        return inside
    return f"-({inside})" if re.search("[+−-]", inside) else f"-{inside}"


class _Box(NamedTuple):
    """Where a box starts, what is inside it, and where the text goes on behind it."""

    start: int
    inside: slice
    after: int


def _is_meant(text: str, box: _Box) -> bool:
    """Whether a box holds something that is not denied."""
    before = text[max(box.start - LONGEST_REMARK, 0) : box.start]
    behind = text[box.after : box.after + LONGEST_REMARK]
    is_empty = _PLACEHOLDER.fullmatch(text[box.inside])
    return not (is_empty or _DENIED.search(before) or _REFUTED.match(behind))


def _boxes(text: str) -> list[_Box]:
    """The boxes that close, in order; of those in others only one that fills the other."""
    opened: list[tuple[int, int] | None] = []
    closed = []
    for brace in _BRACE.finditer(text):
        token = brace.group()
        if token.endswith("{") and token[:2] != "\\{":
            opened.append((brace.start(), brace.end()) if token != "{" else None)
        elif token == "}" and opened:
            start = opened.pop()
            if start is not None:
                closed.append((*start, brace.start()))
    boxes: list[_Box] = []
    for start, inner, end in sorted(closed):
        if not boxes or start >= boxes[-1].after:
            boxes.append(_Box(start, slice(inner, end), end + 1))
        elif _fills(text, boxes[-1].inside, start, end + 1):
            boxes[-1] = boxes[-1]._replace(inside=slice(inner, end))
    return boxes


def _fills(text: str, inside: slice, start: int, after: int) -> bool:
    """Whether nothing but a little space stands beside what goes from `start` to `after`."""
    is_near = start - inside.start < LONGEST_JOINT and inside.stop - after < LONGEST_JOINT
    return is_near and not (text[inside.start : start] + text[after : inside.stop]).strip(" \n\t$")


def named_answer(text: str) -> str | None:
    """What a sentence or line names as the answer, of several the last: "The answer is 42." or "#### 42".

    >>> named_answer("I add them. The final answer is 42. I hope it is correct."), named_answer("So 42")
    ('42', None)
    """
    names = reversed(list(_NAMED.finditer(text)))
    start = next((name.end() for name in names if not _is_denied(text, name)), None)
    if start is None:
        return None
    rest = text[start : start + LONGEST_NAMED].lstrip(" *")
    delimited = _DELIMITED.match(rest)
    sentence = delimited.group() if delimited else _SENTENCE_END.split(rest.lstrip(), maxsplit=1)[0]
    return sentence.strip() or None


def _is_denied(text: str, name: re.Match[str]) -> bool:
    """Whether the words before a name of the answer, or in it, say that what follows is not the answer."""
    before = text[max(name.start() - LONGEST_REMARK, 0) : name.start()]
    return _DENIED.search(before) is not None or _DENIAL.search(name.group()) is not None


def solution_answer(text: str) -> str:
    r"""The answer of a worked solution, as GSM8K (behind the last ####) and MATH (in a box) keep it.

    Any other text is the answer itself.

    >>> solution_answer("48 / 2 = 24, and 48 + 24 = 72\n#### 72"), solution_answer(r"So $x=\boxed{3}$.")
    ('72', '3')
    >>> solution_answer("knight, knave")
    'knight, knave'
    """
    _, mark, behind = text.rpartition("####")
    return behind.strip() if mark else boxed_answer(text) or text


def final_answer(text: str) -> str | None:
    """What a response answers: the first there is of `tagged_answer`, `boxed_answer` and `named_answer`.

    Thoughts are no answer: where there is a `</think>`, what stands behind the last one counts.

    >>> final_answer(r"<think>Is it \\boxed{5}?</think> The answer is 6.")
    '6'
    """
    text = text.rpartition("</think>")[2]
    for find in (tagged_answer, boxed_answer, named_answer):
        answer = find(text)
        if answer is not None:
            return answer
    return None
