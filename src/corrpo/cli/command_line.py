"""The words of a command line: read into a verb's options, the nearest flag for a slip, completion."""

import operator
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import fields, make_dataclass
from functools import reduce
from io import StringIO
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from corrpo.errors import did_you_mean

_FLAG = re.compile(r"--[A-Za-z]")
_ALWAYS = ("--help",)
_NUMBERS: dict[type, str] = {int: "a whole number", float: "a number"}


def parse(verb: str, options_type: type, words: Sequence[str], *, prints_help: bool = True) -> Any:
    """The options of a verb; an option that there is not is refused before anything else.

    Args:
        verb: as it is typed.
        options_type: a frozen dataclass.
        words: what follows the verb.
        prints_help: print help and what is wrong.

    Raises:
        SystemExit: help was asked for (0), or the words cannot be read (2).
    """
    known = (*_ALWAYS, *flags(options_type))
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        if _FLAG.match(flag) and flag not in known:
            if prints_help:
                hint = did_you_mean(flag, known) or f"; corrpo {verb} --help lists them"
                print(f"corrpo {verb}: there is no option {word.partition('=')[0]}{hint}", file=sys.stderr)
            raise SystemExit(2)
    _check_values(verb, options_type, words, prints=prints_help)
    with _colours_as_asked():
        return tyro.cli(
            options_type,
            prog=f"corrpo {verb}",
            args=words,
            config=(tyro.conf.FlagCreatePairsOff,),
            console_outputs=prints_help,
        )


def _check_values(verb: str, options_type: type, words: Sequence[str], *, prints: bool) -> None:
    """Refuse a number that is none and a choice that there is not, in one line; tyro takes a box for it."""
    hints = {f"--{name.replace('_', '-')}": hint for name, hint in get_type_hints(options_type).items()}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        flag, value = name.replace("_", "-"), value if equals else following
        choices, numbers = _choices_and_numbers(hints.get(flag))
        if not (choices or numbers) or _is_one_of(value, choices, numbers):
            continue
        if prints:
            expected = [_NUMBERS[kind] for kind in numbers]
            expected += [f"one of {', '.join(choices)}"] if choices else []
            hint = did_you_mean(value, choices)
            given = f"{flag} {value}".strip()
            print(f"corrpo {verb}: {given}: expected {' or '.join(expected)}{hint}", file=sys.stderr)
        raise SystemExit(2)


def _choices_and_numbers(hint: Any) -> tuple[list[str], list[type]]:
    """The words and the kinds of number that an option takes; none if it takes something else too."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    literals = [kind for kind in kinds if get_origin(kind) is Literal]
    numbers = [kind for kind in kinds if kind in _NUMBERS]
    if len(literals) + len(numbers) + (NoneType in kinds) < len(kinds):
        return [], []
    return [str(choice) for literal in literals for choice in get_args(literal)], numbers


def _is_one_of(value: str, choices: Sequence[str], numbers: Sequence[type]) -> bool:
    for kind in numbers:
        with suppress(ValueError):
            kind(value)
            return True
    return value in (*choices, "None")


def flags(options_type: type) -> list[str]:
    """The long flags of a dataclass of options, positional ones among them."""
    return [f"--{item.name.replace('_', '-')}" for item in fields(options_type)]


@contextmanager
def _colours_as_asked() -> Iterator[None]:
    """Without colours where NO_COLOR is set (https://no-color.org)."""
    settings = tyro._experimental_options
    before = settings["ansi_codes"]
    settings["ansi_codes"] = before and not os.environ.get("NO_COLOR")
    try:
        yield
    finally:
        settings["ansi_codes"] = before


def completion(verbs: Mapping[str, type | None], shell: str) -> str:
    """The script that completes verbs and their options in a shell; None for a verb without a dataclass."""
    groups: dict[str, dict[str, type]] = {}
    for verb, options_type in verbs.items():
        first, _, rest = verb.partition(" ")
        groups.setdefault(first, {})[rest] = options_type or make_dataclass("Options", [])
    every = [
        Annotated[of[""] if "" in of else _one_of(of), tyro.conf.subcommand(name=name)]
        for name, of in groups.items()
    ]
    script = StringIO()
    try:
        with redirect_stdout(script):
            words = ["--tyro-print-completion", shell]
            tyro.cli(_union(every), prog="corrpo", args=words, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit:
        pass
    return script.getvalue()


def _one_of(types: Mapping[str, type]) -> type:
    """A dataclass of a choice between subcommands."""
    named = [
        Annotated[kind, tyro.conf.subcommand(name=name, prefix_name=False)] for name, kind in types.items()
    ]
    return make_dataclass("Group", [("verb", _union(named))])


def _union(types: Sequence[Any]) -> Any:
    return reduce(operator.or_, types)
