"""The `corrpo` commands that documents and scripts show, and whether the command line knows them."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import tyro

from corrpo.cli.main import VERBS

ROOT = Path(__file__).parents[1]


def shown_commands(path: Path) -> list[list[str]]:
    """The words after `corrpo` of each command in a script, or in the console blocks of a Markdown page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"```(?:console|bash)\n(.*?)```", text, re.DOTALL))
    text = re.sub(r"\\\n\s*", " ", text)
    lines = (line.strip() for line in text.splitlines())
    return [
        shlex.split(line.partition(" | ")[0].partition(" # ")[0])[1:]
        for line in lines
        if line.startswith("corrpo ")
    ]


def check_command(words: list[str]) -> None:
    """Parse a command as `corrpo` would, and run nothing; raises AssertionError with what is wrong."""
    verb = next((verb for verb in VERBS if words[: len(verb.split())] == verb.split()), None)
    if words[0] in ("--help", "VERB") or verb == "train":
        return
    assert verb is not None, f"there is no verb {words[0]!r}"
    entry = getattr(import_module(f"corrpo.cli.{verb.split()[0]}"), VERBS[verb][0])
    given = [re.sub(r"\$\{?[\w\[\]@:\"$]+\}?", "x", word) for word in words[len(verb.split()) :]]
    try:
        tyro.cli(entry, args=given, config=(tyro.conf.FlagCreatePairsOff,), console_outputs=False)
    except SystemExit as error:
        raise AssertionError(f"corrpo {' '.join(words)} cannot be read") from error
