"""Chat templates, programs that come with a model: rendered within limits of time, memory and length.

A loop in a template, a power or a padded text may take for ever or all memory, and nothing ends such an
operation from within. So templates run in a process of their own, which is killed when it passes the limit;
it is started with the first chat, and lives on.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from corrpo.answers.verifier import Process, Verifier
from corrpo.errors import BadInputError

TIME_LIMIT = 20.0
"""Seconds that a template may take for one chat; real ones take milliseconds."""
LENGTH_LIMIT = 1 << 26
"""Characters that a template may write for one chat."""

_WORKER = Path(__file__).with_name("template_worker.py")


class Chat(NamedTuple):
    """A chat to be rendered, as `render_jinja_template` of transformers takes it."""

    template: str
    messages: list[dict[str, Any]]
    continued: bool
    special_tokens: dict[str, Any]
    most: int


class _Renderer(Verifier):
    """A process that renders each `Chat`: "rendered" with the text, "refused" or "error" with the reason."""

    def _start(self) -> Process:
        return Process(_WORKER, "transformers")


@cache
def _renderer() -> _Renderer:
    return _Renderer(TIME_LIMIT, workers=1)


def render_chat(tokenizer: Any, messages: list[dict[str, Any]], *, continued: bool) -> str:
    """The text of a chat in a tokenizer's chat template, as its `apply_chat_template` gives it.

    Args:
        tokenizer: with a chat template.
        messages: of the chat.
        continued: leave the last message open; otherwise the assistant's turn is begun.

    Raises:
        BadInputError: the template refuses the messages, or passes a limit.
    """
    template, special = tokenizer.get_chat_template(), dict(tokenizer.special_tokens_map)
    (reply,) = _renderer().ask([Chat(template, messages, continued, special, LENGTH_LIMIT)])
    if reply.verdict == "rendered":
        return reply.detail
    if reply.verdict == "timeout":
        raise BadInputError(f"the chat template takes longer than {_renderer().time_limit:g} s")
    if reply.verdict == "error":
        raise BadInputError(f"the chat template takes more memory than it may have: {reply.detail}")
    if reply.verdict == "long":
        raise BadInputError(f"the chat template writes more than {LENGTH_LIMIT:,} characters")
    raise BadInputError(f"the chat template refuses the prompt: {reply.detail}")
