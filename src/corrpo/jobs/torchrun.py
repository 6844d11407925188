"""Processes that torchrun or accelerate launch started, which do one job as a `Team`.

They meet in the key-value store that torchrun keeps anyway. What is computed goes through a folder that all
can see (`corrpo.jobs.run_folder.RunFolder`).

- Work is claimed piece by piece, by whoever is free: long pieces and slow machines hold nobody up.
- An error in one process becomes the error of all, and one of them prints it.
- A process that dies is noticed: each gives a sign of life every few seconds.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from itertools import count
from typing import Any

from corrpo.errors import BadInputError, CorrpoError
from corrpo.jobs.process_team import BEAT, PATIENCE, Team

_MEETING = timedelta(minutes=30)
_FAREWELL = 10.0
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

_current: ContextVar[Team | None] = ContextVar("team", default=None)
_launches = count()


def current_team() -> Team:
    """The team of the innermost `launched`; this process alone outside of it."""
    return _current.get() or Team()


@contextmanager
def launched(patience: float = PATIENCE) -> Iterator[Team]:
    """Join the processes that torchrun or accelerate launch started, as their environment variables say.

    All of them must enter, and no tensor library's process group is needed; one that there is, is used.

    Args:
        patience: seconds without a sign of life after which a process is taken for dead.

    Yields:
        The team; of this process alone if nothing started several.

    Raises:
        CorrpoError: the other processes cannot be reached.

    >>> with launched() as team:
    ...     team.size
    1
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or any(name not in os.environ for name in _NAMES):
        yield current_team()
        return
    rank, size, store = _meet(next(_launches))
    team = Team(rank, size, store, patience=patience)
    before = _current.set(team)
    stopping = threading.Event()
    beating = threading.Thread(target=_beat, args=(team, stopping), daemon=True)
    beating.start()
    try:
        yield team
    except BaseException as error:
        team.stop(error)
        raise
    finally:
        _current.reset(before)
        _part(team)
        stopping.set()
        beating.join()


def check_processes(team: Team, processes: int | None = None, device_map: str | None = None) -> None:
    """See that there is one way in which GPUs are shared: by a team, by processes, or by parts of a model.

    >>> check_processes(Team(), 4)
    """
    if device_map is not None and (team.size > 1 or processes not in (None, 1)):
        raise BadInputError(
            f"device_map={device_map!r} spreads one model over all GPUs of this machine, and there are "
            f"{max(team.size, processes or 1)} processes: give it to one, or let each have a GPU and a model "
            "of its own"
        )
    if team.size > 1 and processes not in (None, 1):
        raise BadInputError(
            f"processes={processes}, and {team.size} processes were started together already, as by "
            "torchrun: give one or the other"
        )


def device_of_process(device: str) -> str:
    """The device of this process among those of its machine: GPU LOCAL_RANK for "auto" and "cuda".

    Where each process sees a single GPU, as under some schedulers, that one.

    >>> device_of_process("cpu")
    'cpu'
    """
    import torch

    if device not in ("auto", "cuda") or current_team().size == 1 or not torch.cuda.is_available():
        return device
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if gpus == 1:
        return "cuda:0"
    if number >= gpus:
        raise BadInputError(
            f"process {number} of this machine has no GPU, as there are {gpus}; give --nproc_per_node {gpus} "
            "to torchrun, or --device cpu"
        )
    return f"cuda:{number}"


def _meet(number: int) -> tuple[int, int, Any]:
    """Rank, size and the store of this job; the store's names are those of the launch of that number."""
    import torch.distributed as dist
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        if dist.is_initialized():
            store = dist.distributed_c10d._get_default_store()
            rank, size = dist.get_rank(), dist.get_world_size()
        else:
            store, rank, size = next(iter(rendezvous("env://", timeout=_MEETING)))
        return rank, size, PrefixStore(f"corrpo/{number}", store)
    except dist.DistError as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise CorrpoError(f"cannot meet the other processes at {where}: {error}") from error


def _beat(team: Team, stopping: threading.Event) -> None:
    """Signs of life, until it is over or there is nobody to give them to."""
    try:
        while True:
            team._ask("add", f"beat/{team.rank}", 1)
            if stopping.wait(BEAT):
                return
    except CorrpoError:
        return


def _part(team: Team) -> None:
    """Leave in an order in which every error is printed: who prints one first, who keeps the store last.

    torchrun ends all processes as soon as one has ended with an error. This takes a few seconds at most; a
    store that has gone already is nobody's concern any more.
    """
    deadline = time.monotonic() + _FAREWELL
    try:
        failure = team._failure()
        if failure is not None and failure["process"] != team.rank:
            while not team._ask("check", [f"left/{failure['process']}"]) and time.monotonic() < deadline:
                time.sleep(0.02)
        team._ask("set", f"left/{team.rank}", "")
        keeps_store = team.first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        left = team._ask("add", "left", 1)
        while keeps_store and left < team.size and time.monotonic() < deadline:
            time.sleep(0.02)
            left = team._ask("add", "left", 0)
    except CorrpoError:
        return
