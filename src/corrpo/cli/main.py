"""`corrpo VERB ...`: finds the verb's file, reads its options, runs it, and prints errors plainly.

A verb is a module of this folder with a frozen dataclass of options and `run(options)`, or with a
`main(words)` that reads its own command line; --json prints what either returns. Only the module of the verb
that was asked for is imported, and it imports what is heavy within `run`, so that --help is quick. What takes
time here is imported within `main`, which knows what to say of Ctrl-C.
"""

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from corrpo.errors import CorrpoError, did_you_mean, in_one_line, visible

VERBS = {
    "demo": ("Demo", "measure the six tiny models of the lab, and show what corrpo reports"),
    "measure": ("Measure", "measure the Entropy-Gradient Inversion of a model on samples"),
    "compare": ("Compare", "compare measured models over sample sets, with intervals of the differences"),
    "diagnose": ("Diagnose", "one table over training regimes and families, with changes and accuracy"),
    "track": ("Track", "measure every checkpoint of a training: rho over steps"),
    "evaluate": ("Evaluate", "evaluate models or checkpoints on reasoning benchmarks, with intervals"),
    "report": ("Report", "any set of results as one page, with figures 1 to 5 as files for a paper"),
    "view": ("View", "read responses token by token on a local page"),
    "monitor": ("MonitorCommand", "flag generations of low reasoning, in files or as an HTTP service"),
    "train": ("main", "train by SFT, DPO, GRPO, CorR-PO or RLOO, from a recipe"),
    "merge": ("Merge", "average the weights of models of one architecture"),
    "convert": ("Convert", "write a GGUF file as the folder of a model"),
    "experiment": ("Experiment", "arms x seeds x models from one recipe, with a pre-registered verdict"),
    "lab build": ("LabBuild", "train the lab's tiny models again from a seed"),
}

OWN_PROCESSES = ("measure", "track", "evaluate")
"""Verbs that start the processes they need."""
RESUMABLE = (*OWN_PROCESSES, "experiment")
"""Verbs that SIGTERM, as of a batch system at its time limit, ends as Ctrl-C does."""

SHELLS = ("bash", "zsh", "fish")

HELP = """\
corrpo {version}: look inside a reasoning model: token entropy against the strength of the logit's gradient.

  corrpo VERB [options]        corrpo VERB --help shows the options of a verb

Verbs
{verbs}

A first measurement
  corrpo demo
  corrpo measure Qwen/Qwen2.5-0.5B-Instruct --samples prompts.jsonl --output out/qwen --max-tokens 64

  A line of prompts.jsonl is {{"prompt": "What is 17 + 25?"}}, with a "response" to measure if you have one;
  without it the model writes one. out/qwen then holds report.html to read, fingerprint.json with every
  correlation, interval and setting, and tokens.parquet with a row per token. Ctrl-C keeps what is done, and
  the same command goes on from there.

Training
  corrpo train corrpo --config recipes/lab/corrpo.yaml     (corrpo train --help tells the stages)

In scripts
  --quiet leaves results and errors alone; --json prints the results as one object. Progress and remarks go to
  standard error, in files and pipes as a line every 30 seconds. NO_COLOR is obeyed. Completion of options:
  corrpo --completion bash (or zsh, fish) prints the script, to be read by the shell as it starts

Over training, and beside accuracy
  corrpo track sft=out/sft grpo=out/grpo --samples prompts.jsonl --output out/track/mine/r1
  corrpo evaluate sft=out/sft grpo=out/grpo --suite math500 aime24 --output out/evaluated/mine/r1
  corrpo report out/track out/evaluated --output out/report
  corrpo view out/track/mine/r1

Does the inversion matter, and while serving
  corrpo experiment recipes/lab/experiment_small.yaml --output out/experiment
  corrpo monitor lab:qwen2/reasoning --calibrate labelled.jsonl --output calibration.json

What is reported
  rho, the Spearman correlation over tokens of entropy (bits) and gradient strength (mean nuclear norm of the
  gradients of the written token's logit with respect to the Q, K, V and O projections); its interval, which
  resamples whole samples; a permutation p within samples; rho with position held constant; Pearson's r; both
  again by unique token. Negative rho is what the literature calls inversion. The sign is reported as it is.
"""


_STYLES = re.compile(r"\x1b\[[\d;]*m")


class VisibleRecord(logging.LogRecord):
    """A record of a log whose message, which may quote files of models, is `visible` and without colours."""

    def getMessage(self) -> str:
        """The message, line by line."""
        return "\n".join(map(visible, _STYLES.sub("", super().getMessage()).split("\n")))


def help_text() -> str:
    """The page that `corrpo --help` prints."""
    lines = {verb: line for verb, (_, line) in VERBS.items()}
    return HELP.format(version=_version(), verbs=verb_lines(lines))


def _version() -> str:
    from importlib.metadata import version

    return version("corrpo")


def verb_lines(lines: Mapping[str, str]) -> str:
    """A line of help for each verb."""
    return "\n".join(f"  {verb:<12} {line}" for verb, line in lines.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0; 1 after an error of corrpo, printed without a traceback; 2 for a command line
        that cannot be read; 130 after Ctrl-C, 143 after SIGTERM; 141 where nobody reads the output any more.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: its number must not become that of a file, in workers too
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "r+"))
    try:
        status = _main(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        from corrpo.cli.printing import READER_GONE, reader_is_gone

        if not reader_is_gone():
            raise
        return READER_GONE


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if words[0] == "--version":
        print(f"corrpo {_version()}")
        return 0
    if words[0] == "--completion":
        return _print_completion(words[1:])
    verb = next((verb for verb in VERBS if words[: len(verb.split())] == verb.split()), None)
    return _no_verb(words) if verb is None else _run_verb(verb, words[len(verb.split()) :])


def _run_verb(verb: str, words: list[str]) -> int:
    logging.setLogRecordFactory(VisibleRecord)
    if verb in OWN_PROCESSES and os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        return _refuse_torchrun(verb)
    return _run_or_report(verb, words)


def _no_verb(words: list[str]) -> int:
    """The exit status of words that name no verb: what there is below the first, or the nearest verb."""
    below = {verb: line for verb, (_, line) in VERBS.items() if verb.startswith(f"{words[0]} ")}
    asked = bool(below) and words[1:2] in ([], ["-h"], ["--help"])
    if asked:
        print(f"corrpo {words[0]}\n\n{verb_lines(below)}")
        return 0 if words[1:] else 2
    known = below or VERBS
    given = " ".join(words[: 2 if below else 1])
    print(
        f"corrpo: there is no verb {given!r}; there are {', '.join(known)}{did_you_mean(given, known)}",
        file=sys.stderr,
    )
    return 2


def _print_completion(words: list[str]) -> int:
    if len(words) != 1 or words[0] not in SHELLS:
        print(
            f"corrpo: give a shell, as in --completion bash; there are {', '.join(SHELLS)}", file=sys.stderr
        )
        return 2
    from corrpo.cli.command_line import completion

    print(completion({verb: options_class(verb, []) for verb in VERBS}, words[0]))
    return 0


def _run_or_report(verb: str, words: list[str]) -> int:
    """The exit status of a verb, whose error is printed."""
    try:
        with _sigterm_raised(verb in RESUMABLE):
            _run(verb, words)
    except CorrpoError as error:
        print(f"corrpo {verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        dry = "stopped; nothing was written." if "--dry-run" in words else ""
        message = str(stopped) or dry or "stopped; what is done is kept, and the same command goes on."
        print(f"\ncorrpo {verb}: {in_one_line(message)}", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT)
    return 0


class Terminated(KeyboardInterrupt):
    """SIGTERM."""


@contextmanager
def _sigterm_raised(wanted: bool) -> Iterator[None]:
    """SIGTERM raises `Terminated` within, and a second one ends this process at once."""
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_torchrun(verb: str) -> int:
    """The exit status of each of several processes that torchrun started; the first tells what to do."""
    if os.environ.get("RANK", "0") != "0":
        return 0
    print(
        f"corrpo {verb}: {verb} starts its own processes: run it without torchrun, with --processes N to "
        "share the work of this machine, or --cluster auto for that of a Ray cluster",
        file=sys.stderr,
    )
    return 1


def verb_module(verb: str) -> Any:
    """The module of a verb."""
    return import_module(f"corrpo.cli.{verb.split(maxsplit=1)[0]}")


def options_class(verb: str, words: Sequence[str]) -> type | None:
    """The dataclass of options of a verb; None for a verb that reads `words` itself.

    A module whose options depend on the words has a function `options_class(words)`.
    """
    module = verb_module(verb)
    if hasattr(module, "options_class"):
        return module.options_class(words)
    return None if VERBS[verb][0] == "main" else getattr(module, VERBS[verb][0])


def _run(verb: str, words: list[str]) -> None:
    from corrpo.cli.printing import Printed, printed, refuse_json

    module = verb_module(verb)
    options_type = options_class(verb, words)
    if options_type is None:
        asks_for_help = not {"-h", "--help"}.isdisjoint(words)
        given = {flag: f"--{flag}" in words and not asks_for_help for flag in ("quiet", "json")}
        if "--dry-run" in words:
            refuse_json(Printed(**given), "--dry-run does")
        with printed(Printed(**given)) as results:
            results.append(module.main([word for word in words if word not in ("--quiet", "--json")]))
        return
    from corrpo.cli.command_line import parse

    options = parse(verb, options_type, words)
    with printed(options) as results:
        results.append(module.run(options))


if __name__ == "__main__":
    sys.exit(main())
