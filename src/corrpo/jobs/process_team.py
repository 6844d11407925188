"""A team: the processes of one job, what they ask of one another, and how an error becomes that of all.

They meet in a key-value store and exchange names and errors there; no tensor goes between them, so no process
waits for another in the middle of a computation, and each may do as much as it can. `corrpo.jobs.torchrun`
makes the team of a job that torchrun started.
"""

import base64
import json
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from corrpo import errors
from corrpo.errors import CorrpoError

Value = TypeVar("Value")

PATIENCE = 300.0
"""Seconds without a sign of life after which a process is taken for dead."""
BEAT = 5.0
"""Seconds between signs of life."""


class Team:
    """The processes of one job, or this one alone; one stretch of their work, in which they fail together.

    Every process must come to `together`, `wait` and `from_first` in the same order; `claim`, `check` and
    `stop` are for any time. Alone, all of them return at once.

    Attributes:
        rank: number of this process, 0 for the first.
        size: how many processes there are.

    >>> team = Team()
    >>> team.first, team.claim("part"), team.from_first(lambda: 3)
    (True, True, 3)
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        store: Any = None,
        *,
        patience: float = PATIENCE,
        scope: str = "",
        parent: "Team | None" = None,
    ):
        self.rank = rank
        self.size = size
        self._store = store
        self._patience = patience
        self._scope = scope
        self._parent = parent
        self._arrived: set[str] = set()
        self._stretches = 0
        self._shared = 0
        self._heard: dict[int, tuple[int, float]] = {}
        self._listened = 0.0

    @property
    def first(self) -> bool:
        """Whether this process speaks for all: writes what there is one of, and shows progress."""
        return self.rank == 0

    @contextmanager
    def together(self) -> Iterator["Team"]:
        """A stretch of work that all processes end with the same outcome.

        Yields:
            The team of this stretch: claims and waits in it are its own.

        Raises:
            CorrpoError: of another process, of the same class and text, its `process` being that one's rank.
                Where several fail, the first error is that of all.
        """
        stretch = Team(
            self.rank,
            self.size,
            self._store,
            patience=self._patience,
            scope=f"{self._scope}{self._stretches}/",
            parent=self,
        )
        self._stretches += 1
        try:
            yield stretch
        except Exception as error:
            stretch._fail_together(error)
            raise
        except BaseException as error:
            self.stop(error)
            raise
        try:
            stretch.wait("end")
        except CorrpoError as error:
            stretch._fail_together(error)
            raise

    def claim(self, name: str) -> bool:
        """Whether a piece of work is for this process: true in one process of all, the first that asks."""
        return self.size == 1 or self._ask("add", f"claim/{name}", 1) == 1

    def check(self) -> None:
        """Raise the error of another process, or what has ended the job; for between pieces of work."""
        stretch: Team | None = self if self.size > 1 else None
        while stretch is not None:
            failure = stretch._failure()
            if failure is not None and (failure["process"] != self.rank or stretch._parent is None):
                raise self._as_error(failure)
            stretch = stretch._parent

    def wait(self, what: str, meanwhile: Callable[[], None] | None = None) -> None:
        """Wait until every process has come here.

        Args:
            what: a name for this place; each once in a stretch.
            meanwhile: called now and then, to show progress.

        Raises:
            CorrpoError: of another process, or one that has died.
        """
        if self.size == 1:
            return
        self._arrive(what)
        pause = 0.005
        while self._ask("add", f"at/{what}", 0) < self.size:
            self.check()
            self._listen()
            if meanwhile is not None:
                meanwhile()
            time.sleep(pause)
            pause = min(2 * pause, 0.25)
        self.check()

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, on every process; it must pickle.

        Raises:
            CorrpoError: of the first process.
        """
        if self.size == 1:
            return make()
        key = f"shared/{self._shared}"
        self._shared += 1
        if self.first:
            value = make()
            self._ask("set", key, base64.b64encode(pickle.dumps(value)).decode())
            return value
        self._until_there(key)
        return pickle.loads(base64.b64decode(self._ask("get", key)))

    def stop(self, error: BaseException) -> bool:
        """End the whole job for an error, without waiting for anybody.

        Returns:
            Whether this process is the one to print it.
        """
        if self.size == 1:
            return True
        if isinstance(error, CorrpoError) and error.process is not None:
            return False
        return self._root._record(error)["process"] == self.rank

    @property
    def _root(self) -> "Team":
        return self if self._parent is None else self._parent._root

    def _fail_together(self, error: Exception) -> None:
        """See that all leave this stretch with its first error; returns if that is this process's `error`."""
        if self.size == 1:
            return
        above = self._parent
        while above is not None:  # the job, or a longer stretch, has failed: nobody comes to the end of this
            if above._failure() is not None:
                return
            above = above._parent
        failure = self._record(error)
        self._arrive("end")
        while self._ask("add", "at/end", 0) < self.size:
            if self._parent is not None:
                self._parent.check()
            self._listen()
            time.sleep(0.05)
        if failure["process"] != self.rank and getattr(error, "process", None) is None:
            raise self._as_error(failure) from error

    def _as_error(self, failure: dict[str, Any]) -> CorrpoError:
        """A failure that some process noted, as an error to raise here."""
        error = getattr(errors, failure["kind"], CorrpoError)(failure["text"])
        error.process = failure["process"] if failure["process"] != self.rank else None
        return error

    def _record(self, error: BaseException) -> dict[str, Any]:
        """Note an error for all; returns the first that was noted in this stretch."""
        corrpo = isinstance(error, CorrpoError)
        text = str(error) if corrpo else f"{type(error).__name__}: {error}"
        failure = {
            "process": self.rank if getattr(error, "process", None) is None else error.process,  # pyright: ignore
            "kind": type(error).__name__ if corrpo else "CorrpoError",
            "text": text,
        }
        return json.loads(self._ask("compare_set", "failure", "", json.dumps(failure)))

    def _failure(self) -> dict[str, Any] | None:
        if self.size == 1 or not self._ask("check", ["failure"]):
            return None
        return json.loads(self._ask("get", "failure"))

    def _arrive(self, what: str) -> None:
        if what not in self._arrived:
            self._arrived.add(what)
            self._ask("add", f"at/{what}", 1)

    def _until_there(self, key: str) -> None:
        pause = 0.005
        while not self._ask("check", [key]):
            self.check()
            self._listen()
            time.sleep(pause)
            pause = min(2 * pause, 0.25)

    def _listen(self) -> None:
        """Notice the dead: the first process listens for all, the others for the first."""
        now = time.monotonic()
        if now < self._listened + BEAT:
            return
        self._listened = now
        for rank in range(1, self.size) if self.first else [0]:
            beats = self._root._ask("add", f"beat/{rank}", 0)
            before, since = self._heard.get(rank, (-1, now))
            if beats != before:
                self._heard[rank] = (beats, now)
            elif now - since > self._patience:
                error = CorrpoError(
                    f"process {rank} of {self.size} has given no sign of life for {self._patience:.0f} s; it "
                    "has died, perhaps for lack of memory. What is done is kept: the same command goes on, "
                    "with any number of processes"
                )
                self.stop(error)
                raise error

    def _ask(self, method: str, key: Any, *values: Any) -> Any:
        """Call the store with a key of this stretch.

        Raises:
            CorrpoError: the store is gone, and with it the process that keeps it.
        """
        from torch.distributed import DistError

        scoped = [self._scope + name for name in key] if isinstance(key, list) else self._scope + key
        try:
            return getattr(self._store, method)(scoped, *values)
        except DistError as error:
            raise CorrpoError(
                "the connection to the other processes is lost, so their job has ended; what is done is "
                f"kept: run the same command again to go on ({str(error).splitlines()[0]})"
            ) from error
