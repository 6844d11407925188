"""Commands of corrpo one after another in the same processes, as starting processes is what takes time.

    torchrun --nproc_per_node 2 worker.py COMMANDS.json FOLDER

Writes FOLDER/RANK.json: the status, standard output and standard error of each command on that process.
COMMANDS.json holds lists of words; a list that begins with "fails" runs the rest with a mistake of the
program in the last process, after its first sample.
"""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from corrpo.cli.main import main
from corrpo.measurement import pipeline


def run(words: list[str]) -> dict:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as error:  # of a command line that cannot be read
            status = error.code
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


def fail_after_one() -> None:
    """In this process, the second sample that is measured ends in a mistake of the program."""
    real, measured = pipeline.measure_response, []

    def failing(*arguments):
        measured.append(1)
        if len(measured) == 2:
            raise ZeroDivisionError("a mistake of the program")
        return real(*arguments)

    pipeline.measure_response = failing


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, outcomes = os.environ["RANK"], []
    for words in json.loads(Path(sys.argv[1]).read_text()):
        if words[0] == "fails":
            if rank == "1":
                fail_after_one()
            sys.exit(main(words[1:]))
        outcomes.append(run(words))
    (Path(sys.argv[2]) / f"{rank}.json").write_text(json.dumps(outcomes))
