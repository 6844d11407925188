"""Train one run by a launcher's command, such as torchrun, that starts several processes for it."""

import os
import shlex
import signal
import subprocess
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import yaml

from corrpo.errors import BadInputError, CorrpoError
from corrpo.jobs.files import write_text
from corrpo.jobs.parent_death import end_with_parent, marked_environment
from corrpo.models.training_run import FINAL


def processes_on_one_node(launcher: Sequence[str]) -> int | None:
    """How many processes a command of torchrun or accelerate starts; None if it states no number.

    Raises:
        BadInputError: it starts them on several nodes.

    >>> processes_on_one_node(["torchrun", "--nproc-per-node=2"])
    2
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    names = ("--nproc-per-node", "--nproc_per_node", "--num-processes", "--num_processes")
    parser.add_argument(*names, dest="processes", nargs="?", default="")
    parser.add_argument("--nnodes", "--num-machines", "--num_machines", dest="nodes", default="1")
    stated, _ = parser.parse_known_args(launcher)
    if stated.nodes.rpartition(":")[2] != "1":
        raise BadInputError(
            f"launcher {shlex.join(launcher)!r}: it is for {stated.nodes} nodes, and a run has one of the "
            "cluster; give --nproc-per-node, at most the GPUs of a node, and no number of nodes"
        )
    return int(stated.processes) if (stated.processes or "").isdecimal() else None


def train_by_launcher(
    launcher: Sequence[str],
    stage: str,
    settings: Mapping[str, Any],
    folder: Path,
    lock: IO[str],
) -> None:
    """Start `LAUNCHER -m corrpo.cli.main train STAGE` and wait for its end; what it had begun goes on.

    FOLDER/training.yaml are the settings, FOLDER/training.log is what it prints, and FOLDER/training the
    training. Should this process end, however, the command is ended, and holds the folder's `lock` until it
    has. An error quotes the line of the log that says why.
    """
    recipe, log, training = folder / "training.yaml", folder / "training.log", folder / "training"
    write_text(recipe, yaml.safe_dump(dict(settings), sort_keys=False))
    command = [*launcher, "-m", "corrpo.cli.main", "train", stage, "--config", str(recipe)]
    command += ["--resume"] if training.exists() else []
    with log.open("a", encoding="utf-8") as file:
        begun = file.seek(0, os.SEEK_END)
        try:
            started = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=marked_environment(),
                pass_fds=(lock.fileno(),),
                preexec_fn=partial(end_with_parent, signal.SIGTERM),  # noqa: PLW1509 - a system call alone
            )
        except OSError as error:
            raise CorrpoError(f"cannot start {launcher[0]}: {error.strerror or error}") from error
    try:
        status = started.wait()
    except BaseException:
        started.terminate()  # torchrun, if it were killed, would leave the processes that it started
        started.wait()
        raise
    if status or not (training / FINAL).exists():
        raise CorrpoError(
            f"{shlex.join(command)} ended with status {status}; {log} says why: {_reason(log, begun)}"
        )


def _reason(log: Path, begun: int) -> str:
    """What `corrpo train` says of its end, or else the last line that names an error, or the last line.

    Lines before byte `begun` are of earlier calls. A launcher ends with an error of its own.
    """
    written = log.read_bytes()[begun:].decode("utf-8", "replace")
    lines = [line for line in written.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(("corrpo train: ", "corrpo: "))]
    errors = [line for line in lines if "Error" in line]
    return (own or errors or lines or ["nothing was written"])[-1].strip()
