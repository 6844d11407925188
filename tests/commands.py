"""The `corrpo` commands that documents show and scripts give, and whether the command line knows them."""

import os
import re
import shlex
import subprocess
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from corrpo.cli.command_line import parse
from corrpo.cli.main import VERBS, options_class
from corrpo.cli.train import STAGES
from corrpo.errors import BadInputError

ROOT = Path(__file__).parents[1]
STAND_IN = """#!/usr/bin/env bash
line=$(printf '%q ' "${0##*/}" "$@")
echo "$line" >>"$CALLS"
"""


def shown_commands(path: Path) -> list[list[str]]:
    """The words after `corrpo` of each command in the console blocks of a Markdown page."""
    blocks = re.findall(r"```(?:console|bash)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = re.sub(r"\\\n\s*", " ", "\n".join(blocks)).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("corrpo ")]


def given_commands(script: Path, folder: Path) -> list[list[str]]:
    """The words of each command that a script gives to programs of ours, found by running it.

    `corrpo`, `accelerate` and `python` are stand-ins that do nothing but write down how they were called;
    the script writes into `folder`/out.
    """
    for name in ("corrpo", "accelerate", "python"):
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(STAND_IN)
        program.chmod(0o755)
    calls = folder / "calls"
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CALLS": str(calls)}
    subprocess.run(
        ["bash", str(script), str(folder / "out")], check=True, env=environment, capture_output=True
    )
    return [shlex.split(line) for line in calls.read_text().splitlines()]


def check_command(words: list[str]) -> None:
    """Parse what follows `corrpo` as it would, and run nothing.

    Raises:
        AssertionError: with what is wrong.
    """
    if words[0] in ("--help", "--completion", "VERB") or "--help" in words:
        return
    verb = next((verb for verb in VERBS if words[: len(verb.split())] == verb.split()), None)
    assert verb is not None, f"there is no verb {words[0]!r}"
    rest = words[len(verb.split()) :]
    if verb == "train":
        _check_training(rest)
        return
    try:
        parse(verb, options_class(verb, rest), rest, prints_help=False)
    except SystemExit as error:
        raise AssertionError(f"corrpo {' '.join(words)} cannot be read") from error


def _check_training(words: list[str]) -> None:
    """Parse a recipe with the flags after it, as on a machine with GPUs."""
    from corrpo.training.recipe import parse_recipe
    from corrpo.training.stages import config_class

    stage, *flags = (word for word in words if word != "--dry-run")
    assert stage in STAGES, f"there is no stage {stage!r}"
    with ExitStack() as machine:
        machine.enter_context(patch("transformers.training_args.is_torch_bf16_gpu_available", lambda: True))
        machine.enter_context(patch("transformers.training_args.is_torch_xpu_available", lambda *_: False))
        try:
            parse_recipe(config_class(stage), flags)
        except BadInputError as error:
            raise AssertionError(f"corrpo train {' '.join(words)}: {error}") from error
