"""Train one run by a launcher's command, such as torchrun, that starts several processes for it."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from corrpo.errors import CorrpoError
from corrpo.jobs.files import write_text
from corrpo.models.training_run import FINAL


def train_by_launcher(
    launcher: Sequence[str],
    stage: str,
    settings: Mapping[str, Any],
    folder: Path,
    lock: IO[str],
) -> None:
    """Start `LAUNCHER -m corrpo.cli.main train STAGE` and wait for its end; what it had begun goes on.

    FOLDER/training.yaml are the settings, FOLDER/training.log is what it prints, and FOLDER/training the
    training. The command holds the folder's `lock` too, should this process be killed. An error quotes the
    line of the log that says why.
    """
    recipe, log, training = folder / "training.yaml", folder / "training.log", folder / "training"
    write_text(recipe, yaml.safe_dump(dict(settings), sort_keys=False))
    command = [*launcher, "-m", "corrpo.cli.main", "train", stage, "--config", str(recipe)]
    command += ["--resume"] if training.exists() else []
    with log.open("a", encoding="utf-8") as file:
        try:
            ended = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, pass_fds=(lock.fileno(),), check=False
            )
        except OSError as error:
            raise CorrpoError(f"cannot start {launcher[0]}: {error.strerror or error}") from error
    if ended.returncode or not (training / FINAL).exists():
        raise CorrpoError(
            f"{shlex.join(command)} ended with status {ended.returncode}; {log} says why: {_last_line(log)}"
        )


def _last_line(log: Path) -> str:
    """The last line that says something of an error, or else the last one."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or line.startswith("corrpo: ")]
    return (telling or lines or ["nothing was written"])[-1].strip()
