"""The text of a response as its tokens come, without characters that are not complete yet."""

from typing import Any

_INCOMPLETE = "�"


class IncrementalText:
    """What each token adds to the text. Only the last few tokens are decoded again.

    Args:
        tokenizer: one with `decode`.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._context = ""

    def push(self, token: int, *, last: bool = False) -> str:
        """The text that `token` adds; empty while a character is incomplete, unless it is the `last` one."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids, skip_special_tokens=False)
        if text.endswith(_INCOMPLETE) and not last and len(self._ids) < 16:
            return ""
        added = text[len(self._context) :]
        self._ids = self._ids[-4:]
        self._context = self._tokenizer.decode(self._ids, skip_special_tokens=False)
        return added

    def last(self) -> str:
        """What is left when the text has ended: a character that stayed incomplete."""
        return self._tokenizer.decode(self._ids, skip_special_tokens=False)[len(self._context) :]
