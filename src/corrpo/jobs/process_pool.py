"""A pool of processes for independent pieces of work, which ends when its owner does.

Each process is a fresh interpreter (spawn) that takes one item after another. Ctrl-C is the owner's: it ends
the processes at once, and those of an owner that was killed end by themselves. So a task must write its files
whole.
"""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from corrpo.errors import CorrpoError
from corrpo.jobs.process_count import devices_for, usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

_GRACE = 10.0


def parallel(
    task: Callable[[Item, str], Result],
    items: Sequence[Item],
    *,
    processes: int,
    device: str = "auto",
    name: Callable[[Item], str] = str,
    died: Callable[[Item, str], Result] | None = None,
) -> Generator[Result, None, None]:
    """Do `task` for every item, on the device it is given, and yield the results as they finish.

    With one process the items are done here, in order. With more, `task` must be a function of a module, and
    items and results must pickle; the GPUs of `device` go to the processes in turn. Closing the generator
    early, as Ctrl-C does, ends the processes. An error of a task, or of a process that died, begins with its
    item's `name`; with `died`, a process that died is replaced, and `died(item, why)` stands for its result.
    """
    devices = devices_for(device)
    if processes == 1:
        for item in items:
            yield _here(task, item, devices[0], name)
        return
    waiting = list(reversed(items))
    workers: list[_Worker] = []
    try:
        with _interrupts_kept_from_children():
            for number in range(min(processes, len(items))):
                workers.append(_Worker(task, devices[number % len(devices)], processes))
        busy = {worker.connection: (worker, worker.give(waiting.pop())) for worker in workers}
        while busy:
            for connection in wait(list(busy)):
                worker, item = busy.pop(connection)  # pyright: ignore[reportArgumentType]
                try:
                    result = worker.result(name(item))
                except _ProcessDiedError as error:
                    if died is None:
                        raise
                    result = died(item, str(error))
                    workers.remove(worker)
                    if waiting:
                        with _interrupts_kept_from_children():
                            worker = _Worker(task, worker.device, processes)
                        workers.append(worker)
                if waiting:
                    busy[worker.connection] = (worker, worker.give(waiting.pop()))
                yield result
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.end()


def parallel_in_order(
    task: Callable[[Item, str], Result],
    items: Sequence[Item],
    *,
    processes: int,
    device: str = "auto",
    name: Callable[[Item], str] = str,
) -> Iterator[Result]:
    """As `parallel`, with the results in the order of the items, each once those before it are there."""
    finished: dict[int, Result] = {}
    numbered = parallel(
        partial(_numbered, task),
        list(enumerate(items)),
        processes=processes,
        device=device,
        name=lambda pair: name(pair[1]),
    )
    due = 0
    for number, result in numbered:
        finished[number] = result
        while due in finished:
            yield finished.pop(due)
            due += 1


def _numbered(
    task: Callable[[Item, str], Result], numbered: tuple[int, Item], device: str
) -> tuple[int, Result]:
    number, item = numbered
    return number, task(item, device)


def _here(
    task: Callable[[Item, str], Result], item: Item, device: str, name: Callable[[Item], str]
) -> Result:
    try:
        return task(item, device)
    except CorrpoError as error:
        raise _named(error, name(item)) from error


def _named(error: CorrpoError, name: str) -> CorrpoError:
    return type(error)(f"{name}: {error}")


@dataclass(frozen=True)
class _Failure:
    """What a task raised in its process."""

    error: Exception
    trace: str


class _ProcessDiedError(CorrpoError):
    """A process ended in the middle of an item."""


class _Worker:
    """A process and the connection to it."""

    def __init__(self, task: Callable[[Any, str], Any], device: str, processes: int):
        self.device = device
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        threads = max(1, usable_cores() // processes)
        self.process = context.Process(target=_work, args=(theirs, task, device, threads), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, item: Any) -> Any:
        """Hand over an item; `result` raises for a process that has died."""
        with suppress(BrokenPipeError):
            self.connection.send(item)
        return item

    def result(self, name: str) -> Any:
        """What became of the item."""
        try:
            reply = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise _ProcessDiedError(
                f"{name}: its process ended with exit code {self.process.exitcode}, perhaps for lack of "
                "memory; what is done is kept: try fewer --processes"
            ) from None
        if not isinstance(reply, _Failure):
            return reply
        if isinstance(reply.error, CorrpoError):
            raise _named(reply.error, name) from reply.error
        reply.error.add_note(f"In the process that worked on {name}:\n{reply.trace}")
        raise reply.error

    def end(self) -> None:
        """Wait until it has stopped, and see to it that it does."""
        self.process.join(_GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


def _work(connection: Connection, task: Callable[[Any, str], Any], device: str, threads: int) -> None:
    """The life of a process: one item after another until the owner closes the connection or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_owner, daemon=True).start()
    torch.set_num_threads(min(threads, torch.get_num_threads()))
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            reply = task(item, device)
        except Exception as error:  # every error is raised by the owner
            reply = _Failure(error, traceback.format_exc())
        try:
            connection.send(reply)
        except BrokenPipeError:
            return


def _end_with_owner() -> None:
    owner = parent_process()
    if owner is not None:
        wait([owner.sentinel])
        os._exit(1)


@contextmanager
def _interrupts_kept_from_children() -> Iterator[None]:
    """Processes started here ignore Ctrl-C from the beginning; only the main thread may set that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
