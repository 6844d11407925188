"""Verdicts with a time limit, from any thread: math-verify and the like in processes that can be killed.

math-verify's own time-out is a signal, which scores nothing off the main thread, and no signal ends one
operation on huge integers. So the work is done in a few small processes (`verifier_process`). They are
started when they are first needed, as fresh interpreters that import neither torch nor the caller's main
module, live on from call to call, are killed and replaced when they pass the limit, and end with their owner:
a worker whose connection closes goes home.
"""

import json
import logging
import os
import queue
import subprocess
import sys
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, NamedTuple

from corrpo.errors import BadInputError, CorrpoError, require_packages

TIME_LIMIT = 5.0
"""Seconds that one comparison may take."""
START_LIMIT = 120.0
"""Seconds that a process may take to start, on a machine that is busy."""

_PROCESS = Path(__file__).with_name("verifier_process.py")
_WORKER = Path(__file__).with_name("verifier_worker.py")


class Question(NamedTuple):
    """Something to ask of math-verify."""

    gold: str
    """The right answer, in plain notation or LaTeX."""
    prediction: str | None = None
    """The answer given; None asks whether the gold is mathematics at all."""


class Reply(NamedTuple):
    """What became of a question."""

    verdict: str
    """right, wrong, unparsed (the prediction cannot be read), unreadable (the gold cannot), timeout or error;
    readable for a question about the gold alone."""
    detail: str
    """What went wrong, for error."""


class Verifier:
    """A few processes that give verdicts; safe to share between threads.

    After a fork the child starts processes of its own. What they run is for a subclass to say: see
    `MathVerifier`.
    """

    def __init__(self, time_limit: float = TIME_LIMIT, workers: int = 2):
        """Start nothing yet.

        Args:
            time_limit: seconds that one question may take, from when a process has it.
            workers: processes at most.

        Raises:
            BadInputError: a limit that is not positive and finite, or no workers.
        """
        if not 0 < time_limit < float("inf"):
            raise BadInputError(f"time_limit={time_limit}: expected a positive number of seconds")
        if workers < 1:
            raise BadInputError(f"workers={workers}: expected 1 or more")
        self.time_limit = time_limit
        self.workers = workers
        self._open_slots()

    def _open_slots(self) -> None:
        """A place for each process, all empty."""
        self._owner = os.getpid()
        self._slots: queue.LifoQueue[Process | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._slots.put(None)
        self._at_exit = weakref.finalize(self, _stop_idle, self._slots)

    def ask(self, questions: Sequence[Any]) -> list[Reply]:
        """The replies to `questions`, in order; at most the time limit for each.

        Raises:
            CorrpoError: a package is not installed, or the process does not start.
        """
        if os.getpid() != self._owner:
            self._at_exit.detach()
            self._open_slots()
        if len(questions) <= 1 or self.workers == 1:
            return [self._ask(question) for question in questions]
        with ThreadPoolExecutor(min(self.workers, len(questions))) as threads:
            return list(threads.map(self._ask, questions))

    def _start(self) -> "Process":
        """A new process."""
        raise NotImplementedError

    def _ask(self, question: Any) -> Reply:
        slots = self._slots
        worker = slots.get()
        try:
            if worker is None or not worker.is_running():
                worker = self._start()
            return worker.ask(question, self.time_limit)
        finally:
            slots.put(worker if worker is not None and worker.is_running() else None)


class MathVerifier(Verifier):
    """A few processes that compare mathematical answers: `ask` takes each `Question`."""

    def _start(self) -> "Process":
        require_packages("comparing answers as mathematics", "math_verify", extra="train")
        return Process(_WORKER, "math_verify")


def warn_of_failures(log: logging.Logger, replies: Sequence[Reply], what: str, then: str = "") -> None:
    """Log how many of the replies about `what` are time-outs or errors, and the first of them, if any are."""
    failed = [reply for reply in replies if reply.verdict in ("timeout", "error")]
    if failed:
        counts = len(failed), len(replies)
        log.warning(
            "math-verify failed on %d of %d %s, the first time by %s %s%s", *counts, what, *failed[0], then
        )


def _stop_idle(slots: "queue.LifoQueue[Process | None]") -> None:
    while not slots.empty():
        worker = slots.get_nowait()
        if worker is not None:
            worker.stop()


class Process:
    """One process that runs a script's `respond`, and the connection to it."""

    def __init__(self, script: Path, package: str) -> None:
        self.package = package
        self.connection, theirs = Pipe()
        number = theirs.fileno()
        # -P: the folder of the script holds modules of ours, which must not stand in for others
        command = [sys.executable, "-P", str(_PROCESS), str(script), str(number)]
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]
        try:
            self.process = subprocess.Popen(
                command,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        finally:
            theirs.close()
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        problem = f"it did not start within {START_LIMIT:g} s"
        try:
            if self.connection.poll(START_LIMIT):
                self.connection.recv_bytes()
                return
        except (EOFError, OSError):
            problem = f"it ended with status {self.process.wait()}; its own message is on stderr"
        except BaseException:
            self.stop()
            raise
        self.stop()
        raise CorrpoError(
            f"the process of {self.package} is not usable: {problem}. Try it by hand: "
            f'{sys.executable} -c "import {self.package}"'
        )

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def ask(self, question: Any, limit: float) -> Reply:
        """The reply; a process that gives none in time, or ends, or is interrupted, is stopped."""
        try:
            self.connection.send((limit, question._asdict()))
            if self.connection.poll(limit):
                return Reply(*json.loads(self.connection.recv_bytes()))
        except (EOFError, OSError):
            self.stop()
            return Reply("error", f"its process ended with status {self.process.returncode}")
        except BaseException:
            self.stop()
            raise
        self.stop()
        return Reply("timeout", "")

    def stop(self) -> None:
        """End it at once."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
