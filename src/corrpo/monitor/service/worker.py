"""One thread that holds the model, a bounded queue before it, and several responses written in turn.

A job is an iterator of results. The thread takes a step of each active job in turn, so that a short score
does not wait for a long generation. A job ends when its iterator does, fails, is cancelled, or its time is
over; each of these is told to the one who waits for it, so that no answer is lost.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from corrpo.errors import CorrpoError


class QueueFullError(CorrpoError):
    """The queue has no room; try again later."""


class OvertimeError(CorrpoError):
    """A job's time was over before it was done."""


class StoppingError(CorrpoError):
    """The service is stopping and takes no more work."""


@dataclass
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

    def tell(self, kind: str, value: Any = None) -> None:
        """Hand a result over; a loop that is closed has nobody who waits."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.results.put_nowait, (kind, value))


class Worker:
    """The thread of the model.

    Args:
        room: jobs that may wait.
        active: jobs that are worked on in turn.
    """

    def __init__(self, room: int, active: int = 4):
        self._queue: queue.Queue[Job] = queue.Queue(room)
        self._active: list[Job] = []
        self._most = active
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="corrpo-monitor", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return self._queue.qsize()

    @property
    def working(self) -> int:
        """Jobs that are worked on."""
        return len(self._active)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, start: Callable[[], Iterator[Any]], seconds: float) -> Job:
        """Queue a job, from within an event loop.

        Raises:
            QueueFullError: no room.
            StoppingError: the worker is stopping.
        """
        if self._stopping.is_set():
            raise StoppingError("the service is stopping")
        job = Job(start, time.monotonic() + seconds, asyncio.get_running_loop())
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            raise QueueFullError(f"{self._queue.maxsize} requests wait already; try again later") from None
        return job

    def stop(self) -> None:
        """Refuse new jobs, fail those that are left, and wait for the thread."""
        self._stopping.set()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._take()
            for job in list(self._active):
                if not self._step(job):
                    self._active.remove(job)
        left = [*self._active]
        while not self._queue.empty():
            left.append(self._queue.get_nowait())
        for job in left:
            job.tell("error", StoppingError("the service stopped before this was done"))

    def _take(self) -> None:
        """Fill the active jobs; wait a little if there are none."""
        while len(self._active) < self._most:
            try:
                self._active.append(self._queue.get(timeout=0 if self._active else 0.1))
            except queue.Empty:
                return

    def _step(self, job: Job) -> bool:
        """One result of a job; whether there may be more."""
        if job.cancelled:
            return False
        if time.monotonic() > job.deadline:
            job.tell("error", OvertimeError("the time for this request is over"))
            return False
        try:
            if job.iterator is None:
                job.iterator = job.start()
            job.tell("item", next(job.iterator))
        except StopIteration:
            job.tell("end")
            return False
        except Exception as error:  # whatever it is, the one who waits is told, and the thread lives
            job.tell("error", error)
            return False
        return True
