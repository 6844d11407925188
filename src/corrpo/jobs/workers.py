"""Workers that take one task after another as they are free: this process, processes, or actors of a cluster.

Tasks are submitted to a worker as to an executor of `concurrent.futures`, and come back in futures. A worker
that dies costs its own task alone, which another worker does again, at most `RETRIES` times. What a task
itself raises is raised here and not tried again.

A task must be a function of a module (or a `partial` of one); tasks, items and results must pickle.
"""

import logging
import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, closing, contextmanager
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from corrpo.errors import CorrpoError
from corrpo.jobs.process_count import (
    check_processes,
    devices_for,
    need_of,
    processes_for,
    usable_cores,
    visible_device,
)
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.load_options import LoadOptions

Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)

RETRIES = 2
"""How often a task whose worker died is done again."""
_PATIENCE = 60.0
"""Seconds without a worker that has started after which that is told."""
_GRACE = 5.0
"""Seconds in which a process whose pipes have closed has ended."""


class Worker(ABC):
    """What does one task at a time.

    Attributes:
        ready: done when the worker can take a task; holds `BrokenExecutor` if it died before, and another
            error if it is not fit for the tasks.
    """

    ready: Future[Any]

    @abstractmethod
    def submit(self, task: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Begin a task; the future holds `BrokenExecutor` with the reason if the worker dies."""

    @abstractmethod
    def close(self) -> None:
        """End the worker, in the middle of a task too, and wait until it has ended."""


class Workers(ABC):
    """As many workers as can be had up to a number, each replaced if it dies; to be closed.

    Attributes:
        count: how many there are when all have started.
        share_folders: whether they see the folders of this process.
        retried: how many tasks were done again so far.
    """

    share_folders = True

    def __init__(self, count: int):
        signal.siginterrupt(signal.SIGINT, True)  # polars has what waits for a task go on waiting
        self.count = count
        self.retried = 0
        self._starting: dict[Future[Any], tuple[Worker, int]] = {}
        self._busy: dict[Future[Any], tuple[Worker, int, int]] = {}
        self._free: list[tuple[Worker, int]] = []
        self._failed_starts = 0

    @abstractmethod
    def start(self, number: int) -> Worker:
        """A new worker in the place of that number, 0 to count - 1."""

    def advice(self) -> str:
        """What to do where workers do not start."""
        return 'a script that starts processes is a file, and does so below `if __name__ == "__main__":`'

    def map(
        self,
        task: Callable[[Any], Result],
        items: Sequence[Item],
        *,
        name: Callable[[Item], str] | None = str,
        lost: Callable[[Item, str], Result] | None = None,
        pack: Callable[[Item], Any] = lambda item: item,
    ) -> Generator[tuple[int, Result], None, None]:
        """Do `task` for every item; yields the number of each item and its result, as they finish.

        Items begin in their order. What a worker is given is `pack(item)`, made when it is given. Closing the
        generator early ends the tasks that are going on.

        Raises:
            CorrpoError: of a task, beginning with its item's `name` unless that is None; or of one whose
                workers died each time, unless `lost(item, why)` stands for its result.
        """
        waiting, tries = deque(range(len(items))), Counter[int]()
        came: list[tuple[int, Result]] = []
        failure: BaseException | None = None
        try:
            while waiting or self._busy or came:
                self._staff(len(waiting))
                while waiting and self._free:
                    (worker, place), number = self._free.pop(), waiting.popleft()
                    self._busy[worker.submit(task, pack(items[number]))] = worker, place, number
                yield from came
                came = []
                for future in self._ended() if self._busy or waiting else ():
                    worker, place, number = self._busy.pop(future)
                    item, error = items[number], future.exception()
                    if isinstance(error, BrokenExecutor):
                        worker.close()
                        tries[number] += 1
                        if tries[number] <= RETRIES:
                            self.retried += 1
                            again = f"done again, {tries[number]} of {RETRIES} times"
                            logger.warning("%s: %s; %s", (name or str)(item), error, again)
                            waiting.append(number)
                            continue
                        why = f"{error}, {tries[number]} times"
                        if lost is not None:
                            came.append((number, lost(item, why)))
                            continue
                        advice = "what is done is kept: try fewer --processes"
                        failure = CorrpoError(f"{(name or str)(item)}: {why}; {advice}")
                        continue
                    self._free.append((worker, place))
                    if error is None:
                        came.append((number, future.result()))
                    else:
                        failure = named(error, item, name)
                if failure is not None:
                    yield from came
                    raise failure
        finally:
            self._end_busy()

    def close(self) -> None:
        """End all workers, in the middle of tasks too."""
        self._end_busy()
        for worker, _ in (*self._free, *self._starting.values()):
            worker.close()
        self._free.clear()
        self._starting.clear()

    def _end_busy(self) -> None:
        for worker, _, _ in self._busy.values():
            worker.close()
        self._busy.clear()

    def _staff(self, waiting: int) -> None:
        """Start what is missing of `count` workers, but not more than there are tasks for."""
        idle = [place for _, place in (*self._free, *self._starting.values())]
        held = {*idle, *(place for _, place, _ in self._busy.values())}
        missing = [place for place in range(self.count) if place not in held]
        for place in missing[: max(0, waiting - len(idle))]:
            worker = self.start(place)
            self._starting[worker.ready] = worker, place

    def _ended(self) -> list[Future[Any]]:
        """Tasks that have ended; once there are some or workers have started, which are taken in."""
        patience = None if self._busy else _PATIENCE
        while True:
            done = wait([*self._busy, *self._starting], patience, return_when=FIRST_COMPLETED).done
            if done:
                break
            logger.warning("no worker has started for %.0f s: %s", _PATIENCE, self.advice())
        for future in [future for future in done if future in self._starting]:
            self._welcome(future)
        return [future for future in done if future in self._busy]

    def _welcome(self, future: Future[Any]) -> None:
        """Take in a worker that has started; too many in a row that have not are an error."""
        worker, place = self._starting.pop(future)
        error = future.exception()
        if error is None:
            self._free.append((worker, place))
            self._failed_starts = 0
            return
        worker.close()
        self._failed_starts += 1
        if not isinstance(error, BrokenExecutor):
            raise error
        if self._failed_starts > RETRIES:
            last = f"of the last, {error}"
            raise CorrpoError(f"{RETRIES + 1} workers died as they started: {last}; {self.advice()}")


def named(error: BaseException, item: Item, name: Callable[[Item], str] | None) -> BaseException:
    """An error of corrpo beginning with the name of its item, if it has one; another as it is."""
    if name is None or not isinstance(error, CorrpoError):
        return error
    return type(error)(f"{name(item)}: {error}")


def in_order(results: Iterator[tuple[int, Result]]) -> Iterator[Result]:
    """Numbered results in the order of their numbers from 0, each once those before it are there.

    >>> list(in_order(iter([(1, "b"), (0, "a"), (2, "c")])))
    ['a', 'b', 'c']
    """
    finished: dict[int, Result] = {}
    due = 0
    for number, result in results:
        finished[number] = result
        while due in finished:
            yield finished.pop(due)
            due += 1


class ThisProcess(Workers):
    """No other process: tasks are done here, in their order."""

    def __init__(self):
        super().__init__(1)

    def start(self, number: int) -> Worker:
        """Never called."""
        raise NotImplementedError

    def map(
        self,
        task: Callable[[Any], Result],
        items: Sequence[Item],
        *,
        name: Callable[[Item], str] | None = str,
        lost: Callable[[Item, str], Result] | None = None,
        pack: Callable[[Item], Any] = lambda item: item,
    ) -> Generator[tuple[int, Result], None, None]:
        """As `Workers.map`; nothing is packed, and nothing is lost."""
        for number, item in enumerate(items):
            try:
                result = task(item)
            except CorrpoError as error:
                raise named(error, item, name) from error
            yield number, result


class Processes(Workers):
    """Processes of this machine, fresh interpreters; its GPUs go to them in turn.

    Ctrl-C is their owner's: they ignore it, and end when it closes them or dies. Whatever they write must
    therefore be written whole.
    """

    def __init__(self, count: int, device: str = "auto"):
        super().__init__(count)
        self._devices = devices_for(device) if device in ("auto", "cuda") else []

    def start(self, number: int) -> Worker:
        """A process that sees one GPU, if there are any to choose from."""
        gpu = self._devices[number % len(self._devices)] if self._devices else "cpu"
        visible = visible_device(gpu, os.environ.get("CUDA_VISIBLE_DEVICES"))
        return _Process(visible, max(1, usable_cores() // self.count))


class _Process(Worker):
    """A pool of one process, so that one that dies breaks no other's."""

    def __init__(self, visible: str | None, threads: int):
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=(visible, threads))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # that process never sees Ctrl-C
        try:
            started = self._pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        (self._process,) = self._pool._processes.values()  # Python 3.14 has kill_workers
        results: Any = self._pool._result_queue
        results._writer.close()  # or a death in the middle of a result would go unnoticed
        self.ready = translated(started, self._told)

    def submit(self, task: Callable[[Item], Result], item: Item) -> Future[Result]:
        try:
            return translated(self._pool.submit(task, item), self._told)
        except BrokenExecutor as error:  # it died between two tasks
            died: Future[Result] = Future()
            died.set_exception(self._told(error))
            return died

    def close(self) -> None:
        self._process.kill()
        self._pool.shutdown(cancel_futures=True)

    def _told(self, error: BaseException) -> BaseException:
        """Why it died, as far as is known; if it lives, it has sent what cannot be read."""
        if not isinstance(error, BrokenExecutor):
            return error
        self._process.join(_GRACE)
        if self._process.is_alive():
            return TypeError(f"a task's result or error cannot be unpickled: {error.__cause__}")
        code = self._process.exitcode
        return BrokenExecutor(f"its process ended with exit code {code}, perhaps for lack of memory")


def translated(
    future: Future[Result],
    translate: Callable[[BaseException], BaseException],
    check: Callable[[Result], None] | None = None,
) -> Future[Result]:
    """The same future with its error as `translate` gives it; an error of `check` stands for the result."""
    told: Future[Result] = Future()

    def settle(future: Future[Result]) -> None:
        if future.cancelled():
            told.cancel()
        elif (error := future.exception()) is not None:
            told.set_exception(translate(error))
        else:
            try:
                if check is not None:
                    check(future.result())
                told.set_result(future.result())
            except CorrpoError as unfit:
                told.set_exception(unfit)

    future.add_done_callback(settle)
    return told


def _begin(visible: str | None, threads: int) -> None:
    """What a process does before its first task."""
    os.dup2(2, 1)  # what tasks print is no result of the command
    tqdm.set_lock(threading.RLock())  # its own is one of all processes, which a kill would leave behind
    threading.Thread(target=_end_with_owner, daemon=True).start()
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    torch.set_num_threads(min(threads, torch.get_num_threads()))


def _end_with_owner() -> None:
    owner = multiprocessing.parent_process()
    if owner is not None:
        wait_for_end([owner.sentinel])
        os._exit(1)


def local_workers(count: int, device: str = "auto") -> AbstractContextManager[Workers]:
    """So many workers on this machine, closed at the end; a single one is this process."""
    return closing(ThisProcess() if count == 1 else Processes(count, device))


@contextmanager
def open_workers(
    checkpoints: Sequence[Checkpoint],
    processes: int | None,
    cluster: str | None,
    loading: LoadOptions,
    *,
    devices: int | None = 1,
    paths: Sequence[Path] = (),
) -> Iterator[Workers]:
    """Workers for tasks on models, closed at the end.

    Args:
        checkpoints: the model of each task.
        processes: how many workers; see `processes_for`, and on a cluster as many as it has room for.
        cluster: the address of a Ray cluster; None for this machine, where one worker is this process.
        loading: how models are loaded: device, dtype and device_map count.
        devices: GPUs, or else cores, that a task takes on a cluster; None for all of its machine, as with a
            device_map: on this machine one worker then.
        paths: files and folders that tasks read beside their models; every node of a cluster must have them.

    Raises:
        BadInputError: a bad number of processes; see `corrpo.jobs.cluster.connected`.
    """
    check_processes(processes, loading.device_map, cluster)
    device, dtype = loading.device, loading.dtype
    devices = devices if loading.device_map is None else None
    if cluster is not None:
        from corrpo.jobs.cluster import connected

        need = need_of(checkpoints, device, dtype, devices)
        read = [*(Path(checkpoint.source) for checkpoint in checkpoints), *paths]
        with connected(cluster, processes, need, list(dict.fromkeys(read))) as workers:
            yield workers
        return
    count = 1 if devices is None else processes_for(checkpoints, processes, device=device, dtype=dtype)
    with local_workers(count, device) as workers:
        yield workers
