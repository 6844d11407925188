"""The words of a command line: read into a verb's options, the nearest flag for a slip, completion."""

import operator
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields, make_dataclass
from functools import reduce
from io import StringIO
from typing import Annotated, Any

import tyro

from corrpo.errors import did_you_mean

_FLAG = re.compile(r"--[A-Za-z]")
_ALWAYS = ("--help",)


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
    with _colours_as_asked():
        return tyro.cli(
            options_type,
            prog=f"corrpo {verb}",
            args=words,
            config=(tyro.conf.FlagCreatePairsOff,),
            console_outputs=prints_help,
        )


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
