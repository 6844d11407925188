"""One thread that holds the model, a bounded queue before it, and several responses written in turn.

A job is an iterator of results. The thread takes a step of each active job in turn, so that a short score
does not wait for a long generation. A job ends when its iterator does, fails, is cancelled, or its time is
over; the one who waits for it gets each of these, so that no answer is lost.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from corrpo.errors import CorrpoError


class QueueFullError(CorrpoError):
    """The queue has no room; try again later."""


class OvertimeError(CorrpoError):
    """A job's time was over before it was done."""


class StoppingError(CorrpoError):
    """The service is stopping and takes no more work."""


@dataclass(eq=False)
class Job:
    """A piece of work and where its results go.

    Attributes:
        start: makes the iterator, in the worker's thread.
        deadline: monotonic seconds at which its time is over.
        loop: the event loop of the one who waits.
        results: ("item", value), and at the end ("end", None) or ("error", exception).
        cancelled: set by the one who waits, to be rid of it.
    """

    start: Callable[[], Iterator[Any]]
    deadline: float
    loop: asyncio.AbstractEventLoop
    results: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    iterator: Iterator[Any] | None = None

    def send(self, kind: str, value: Any = None) -> None:
        """Hand a result over; a loop that is closed has nobody who waits."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.results.put_nowait, (kind, value))

    async def values(self) -> AsyncIterator[Any]:
        """The results as they come, and the error that ended the job, if one did.

        An `OvertimeError` where its time is over, be it that the job waits still, or that a step of it hangs.
        """
        while True:
            try:
                async with asyncio.timeout(max(0.0, self.deadline - time.monotonic())):
                    kind, value = await self.results.get()
            except TimeoutError:
                raise overtime() from None
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value


def overtime() -> OvertimeError:
    """The error of a job whose time is over."""
    return OvertimeError("the time for this request is over")


class Worker:
    """The thread of the model: `active` jobs are worked on in turn, `room` may wait."""

    def __init__(self, room: int, active: int = 4):
        self._room, self._most = room, active
        self._waiting: deque[Job] = deque()
        self._active: list[Job] = []
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="corrpo-monitor", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """Jobs that are worked on."""
        return len(self._active)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, start: Callable[[], Iterator[Any]], seconds: float) -> Job:
        """Queue a job, from within an event loop. Cancelled jobs make room; else it is a `QueueFullError`."""
        job = Job(start, time.monotonic() + seconds, asyncio.get_running_loop())
        with self._changed:
            if self._stopping:
                raise StoppingError("the service is stopping")
            if len(self._waiting) >= self._room:
                self._waiting = deque(waiting for waiting in self._waiting if not waiting.cancelled)
            if len(self._waiting) >= self._room:
                raise QueueFullError(f"{self._room} requests wait already; try again later")
            self._waiting.append(job)
            self._changed.notify()
        return job

    def end(self) -> None:
        """Refuse new jobs, and fail those that are left after the step that is being taken."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def stop(self) -> None:
        """`end`, and wait for the thread."""
        self.end()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while self._take():
            self._active = [job for job in self._active if self._step(job)]
        for job in (*self._active, *self._waiting):
            job.send("error", StoppingError("the service stopped before this was done"))
        self._active, self._waiting = [], deque()

    def _take(self) -> bool:
        """Fill the active jobs, waiting for one if there is none; whether to go on."""
        with self._changed:
            while not (self._active or self._waiting or self._stopping):
                self._changed.wait()
            while self._waiting and len(self._active) < self._most:
                self._active.append(self._waiting.popleft())
            return not self._stopping

    def _step(self, job: Job) -> bool:
        """One result of a job; whether there may be more."""
        if job.cancelled:
            return False
        if time.monotonic() > job.deadline:
            job.send("error", overtime())
            return False
        try:
            if job.iterator is None:
                job.iterator = job.start()
            job.send("item", next(job.iterator))
        except StopIteration:
            job.send("end")
            return False
        except Exception as error:  # whatever it is, the one who waits gets it, and the thread lives
            job.send("error", error)
            return False
        return True
