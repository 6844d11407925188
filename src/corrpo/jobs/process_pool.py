"""Work on checkpoints shared between processes: how many, and a small pool that ends when its owner does.

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
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import torch

from corrpo.errors import BadInputError, CorrpoError
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.memory import free_memory
from corrpo.models.saved_files import saved_dtype, weight_files

Item = TypeVar("Item")
Result = TypeVar("Result")

_BASE = 1 << 30
_GRACE = 10.0
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def processes_for(
    checkpoints: Sequence[Checkpoint],
    processes: int | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
) -> int:
    """How many processes to share `checkpoints` between.

    Not more than there are checkpoints, GPUs to use or else cores, and free memory for: a process is taken to
    need 1 GiB and twice the bytes of the largest checkpoint's weights, as loaded. One where the size of the
    weights is not known, as for names on the hub.

    Args:
        checkpoints: what there is to do.
        processes: as many as the user asked for; taken as it is, up to the number of checkpoints.
        device: as in `corrpo.load_model`.
        dtype: that the weights are loaded in, likewise.

    Returns:
        1 or more.

    Raises:
        BadInputError: fewer than one process was asked for.
    """
    most = max(1, len(checkpoints))
    if processes is not None:
        if processes < 1:
            raise BadInputError(
                f"processes={processes}: expected 1 or more, or none to go by cores and memory"
            )
        return min(processes, most)
    devices = devices_for(device)
    workers = _cores() if devices == ["cpu"] else len(devices)
    needs = [_memory_needed(checkpoint, dtype) for checkpoint in checkpoints]
    known = [need for need in needs if need is not None]
    if not known or len(known) < len(needs):
        return 1
    return max(1, min(most, workers, free_memory() // max(known)))


def devices_for(device: str) -> list[str]:
    """The devices that processes are given in turn: every visible GPU for "auto" and "cuda", else `device`.

    >>> devices_for("cpu")
    ['cpu']
    """
    if device not in ("auto", "cuda"):
        return [device]
    gpus = torch.cuda.device_count()
    return [f"cuda:{number}" for number in range(gpus)] or ["cpu" if device == "auto" else device]


def parallel(
    task: Callable[[Item, str], Result],
    items: Sequence[Item],
    *,
    processes: int,
    device: str = "auto",
    name: Callable[[Item], str] = str,
) -> Generator[Result, None, None]:
    """Do `task` for every item, and yield the results as they finish.

    With one process the items are done here, in order. With more, `task` must be a function of a module, and
    items and results must pickle. Closing the generator early, as Ctrl-C does, ends the processes.

    Args:
        task: takes an item and the device to work on.
        items: what to do.
        processes: see `processes_for`.
        device: as in `corrpo.load_model`; the processes get its GPUs in turn (`devices_for`).
        name: what to call an item in an error.

    Raises:
        CorrpoError: of a task, with its item's name in front; or a process that died.
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
                result = worker.result(name(item))
                if waiting:
                    busy[worker.connection] = (worker, worker.give(waiting.pop()))
                yield result
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.end()


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


class _Worker:
    """A process and the connection to it."""

    def __init__(self, task: Callable[[Any, str], Any], device: str, processes: int):
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        threads = max(1, _cores() // processes)
        self.process = context.Process(target=_work, args=(theirs, task, device, threads), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, item: Any) -> Any:
        """Hand over an item; a process that has died is told by `result`."""
        with suppress(BrokenPipeError):
            self.connection.send(item)
        return item

    def result(self, name: str) -> Any:
        """What became of the item."""
        try:
            reply = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise CorrpoError(
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
        except Exception as error:  # every error is the owner's to tell
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


def _memory_needed(checkpoint: Checkpoint, dtype: str) -> int | None:
    """Bytes; None if the size of the weights is not known."""
    folder = Path(checkpoint.source)
    files = weight_files(folder) if folder.is_dir() else []
    if not files:
        return None
    widened = _BYTES.get(dtype, 0) / _BYTES.get(saved_dtype(folder) or "", _BYTES["float64"])
    return int(sum(path.stat().st_size for path in files) * max(1.0, widened)) * 2 + _BASE


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
