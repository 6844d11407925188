"""The type hints of settings: in words, and whether a value is of one."""

import os
import types
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from corrpo.errors import BadInputError

_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Path: "a path",
    dict: "a mapping",
    types.NoneType: "nothing",
}


_KINDS: dict[Any, Any] = {int: Integral, float: Real, Path: str | os.PathLike}
"""What is taken for a type beside its own values: numbers of numpy, paths in text."""


def check_types(settings: Any, given: Mapping[str, Any]) -> None:
    """Raise `BadInputError` on the first of the given fields of a dataclass that is not of its type.

    Only plain types (bool, int, float, str, Path, None) and sequences of them are looked at; a class checks
    the rest itself.
    """
    hints = _hints(settings)
    for name, value in given.items():
        if not _is_of(value, hints[name]):
            raise BadInputError(
                f"{name}={value!r}: expected {describe_type(hints[name])}, not {type(value).__name__}"
            )


_hints = cache(get_type_hints)


def _is_of(value: Any, hint: Any) -> bool:
    """
    >>> _is_of(3, float), _is_of(True, int), _is_of("3", int | None), _is_of(None, int | None)
    (True, False, False, True)
    """
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_of(value, arm) for arm in get_args(hint))
    if get_origin(hint) in (list, tuple, Sequence):
        items = get_args(hint)[0]
        return isinstance(value, Collection) and all(_is_of(item, items) for item in value)
    if hint not in _NAMES or hint is dict:
        return True
    kind = _KINDS.get(hint, hint)
    return isinstance(value, kind) and (hint is bool or not isinstance(value, bool))


def describe_type(hint: Any) -> str:
    """A type hint in words.

    >>> describe_type(list[str] | None), describe_type(int)
    ('a list (of text) or nothing', 'a whole number')
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe_type(arm) for arm in get_args(hint)))
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    if origin in (list, tuple, Sequence):
        return f"a list (of {describe_type(get_args(hint)[0])})"
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(repr(member.value) for member in kind)
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))
