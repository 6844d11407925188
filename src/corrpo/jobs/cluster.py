"""The workers of a Ray cluster: an actor each, whose CPUs, GPUs and memory are Ray's resources.

What a worker needs is a placement group of one bundle, and so on one node. The actor takes all of it but for
the CPUs of processes that a task starts, since Ray gives an actor as many threads as CPUs. It holds no code
of corrpo until it has told which versions its node has, so that a node without corrpo, or with another
version, is named. Actors end with the process that started them.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from corrpo.errors import BadInputError, first_line, require_packages
from corrpo.jobs.process_count import Need
from corrpo.jobs.versions import library_versions
from corrpo.jobs.workers import Worker, Workers, translated

Item = TypeVar("Item")
Result = TypeVar("Result")

_REACHED_WITHIN = 10.0
"""Seconds for the first connection to an address."""
_ATTEMPTS = "RAY_gcs_server_port_wait_time_s"
"""The variable that Ray reads the number of its attempts to connect from."""


@contextmanager
def connected(address: str, count: int | None, need: Need, paths: Sequence[Path]) -> Iterator["Cluster"]:
    """Workers of the Ray cluster at `address`, or of the one that this process is connected to already.

    Args:
        address: "auto" for the cluster that this machine, or RAY_ADDRESS, belongs to, or HOST:PORT.
        count: how many workers; None for as many as the cluster has room for.
        need: what each must have.
        paths: files and folders that tasks read.

    Raises:
        BadInputError: Ray is not installed; no cluster answers; none of its nodes has what a worker needs;
            a node lacks corrpo, or some of `paths`, or has other versions.
    """
    require_packages("--cluster", "ray", extra="ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    with ExitStack() as stack:
        if not ray.is_initialized():
            _join(address)
            stack.callback(ray.shutdown)
        workers = Cluster(address, count, need, [str(path) for path in paths if path.exists()])
        stack.callback(workers.close)
        yield workers


def _join(address: str) -> None:
    import ray

    reached = (os.environ.get("RAY_ADDRESS") or address) if address == "auto" else address
    named = repr(address) if reached == address else f"RAY_ADDRESS={reached!r}"
    nobody = (
        f"no Ray cluster at {named}: start one by `ray start --head` and `ray start --address HOST:PORT` "
        "on the other nodes, run this on one of them, and give auto or HOST:PORT"
    )
    advice = ""
    if reached != "auto":
        host, _, port = reached.rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise BadInputError(f"cluster {named}: expected auto, or HOST:PORT as `ray start` tells it")
        try:
            socket.create_connection((host, int(port)), _REACHED_WITHIN).close()
        except (OSError, OverflowError) as error:  # OverflowError: a port above 65535
            raise BadInputError(f"{nobody} ({error})") from error
        if os.environ.get("RAY_AUTH_MODE") != "token":  # Ray takes its token by itself for auto alone
            advice = "; where `ray start` told that it asks for a token, set RAY_AUTH_MODE=token"
    tried_once = _ATTEMPTS not in os.environ
    if tried_once:  # else 20 times, 40 seconds each, where something answers that is not Ray
        os.environ[_ATTEMPTS] = "1"
    try:
        with _sigterm_kept():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of many kinds, with a stack of processes in their text
        raise BadInputError(f"{nobody} ({first_line(error)}{advice})") from error
    finally:
        if tried_once:
            del os.environ[_ATTEMPTS]
    worker: Any = ray._private.worker  # pyright: ignore
    worker._worker_logs_enabled = False  # pages on standard output for each worker that dies


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray takes SIGTERM, exits by it while it connects, and later prints a stack; here it stays as it was."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    try:
        yield
    except SystemExit:
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


class Cluster(Workers):
    """Workers on the nodes of the cluster that this process is connected to."""

    share_folders = False

    def __init__(self, address: str, count: int | None, need: Need, paths: Sequence[str]):
        import ray

        if need.device not in ("auto", "cpu", "cuda"):
            raise BadInputError(f"device {need.device!r}: on a cluster Ray chooses the GPU; give cuda or cpu")
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = {name: int(max(node.get(name, 0) for node in nodes)) for name in ("CPU", "GPU")}
        kind = "CPU" if need.device == "cpu" or (need.device == "auto" and not most["GPU"]) else "GPU"
        self._wanted: dict[str, float] = {"CPU": need.devices or 1, kind: need.devices or max(1, most[kind])}
        if need.memory is not None:
            self._wanted["memory"] = need.memory
        self._address, self._paths = address, paths
        room = sum(
            int(min(node.get(name, 0) // amount for name, amount in self._wanted.items())) for node in nodes
        )
        if not room:
            raise BadInputError(f"no node of the Ray cluster at {address!r} has room: {self.advice()}")
        super().__init__(room if count is None else count)
        self._actor = ray.remote(_actor_class())

    def start(self, number: int) -> Worker:
        """An actor, in a placement group wherever Ray finds room."""
        from ray.util import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        group = placement_group([self._wanted], strategy="STRICT_PACK")
        actor = self._actor.options(
            num_cpus=1,
            num_gpus=self._wanted.get("GPU", 0),
            memory=self._wanted.get("memory"),
            max_restarts=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group),
        ).remote()
        return _Actor(actor, group, self._paths)

    def advice(self) -> str:
        """What a worker waits for."""
        words = [
            f"{amount / (1 << 30):.1f} GiB of memory" if name == "memory" else f"{amount} {name}"
            for name, amount in self._wanted.items()
        ]
        token = os.environ.get("RAY_AUTH_MODE") == "token"  # Ray sets it for auto, where it finds a token
        remedy = "; where `ray start` asked for no token, set RAY_AUTH_MODE=disabled" if token else ""
        return f"a worker needs {', '.join(words)}; `ray status` shows what there is{remedy}"


def _actor_class() -> type:
    """The class of the actors, made here so that Ray sends it by value."""

    class CorrpoWorker:
        def begin(self, folder: str, paths: Sequence[str]) -> tuple[str, dict[str, str | None], list[str]]:
            import os
            import platform
            import socket
            from importlib.metadata import PackageNotFoundError, version

            if os.path.isdir(folder):
                os.chdir(folder)  # for names that are relative
            versions: dict[str, str | None] = {"python": platform.python_version()}
            for name in ("corrpo", "torch", "transformers"):
                try:
                    versions[name] = version(name)
                except PackageNotFoundError:
                    versions[name] = None
            return socket.gethostname(), versions, [path for path in paths if not os.path.exists(path)]

        def do(self, task: Callable[[Any], Any], item: Any) -> Any:
            return task(item)

    return CorrpoWorker


class _Actor(Worker):
    def __init__(self, handle: Any, group: Any, paths: Sequence[str]):
        self._handle, self._group = handle, group
        begun = handle.begin.remote(str(Path.cwd()), list(paths)).future()
        self.ready = translated(begun, _plain, check_node)

    def submit(self, task: Callable[[Item], Result], item: Item) -> Future[Result]:
        return translated(self._handle.do.remote(task, item).future(), _plain)

    def close(self) -> None:
        import ray
        from ray.util import remove_placement_group

        ray.kill(self._handle)
        remove_placement_group(self._group)


def check_node(told: tuple[str, dict[str, str | None], list[str]]) -> None:
    """Raise `BadInputError` if a node has not the versions of this process, as results would differ.

    Or if it lacks files that tasks read. `told` are the node's name, versions, and files that it lacks.
    """
    node, versions, missing = told
    for name, here in library_versions().items():
        there = versions[name]
        if there is None:
            raise BadInputError(
                f"node {node} of the cluster has no {name} in the Python of its Ray: install {name} {here} "
                "there, with the extras that you use"
            )
        if there.partition("+")[0] != here.partition("+")[0]:  # torch adds what it was built for
            raise BadInputError(
                f"node {node} of the cluster has {name} {there}, and this process {here}: install one "
                "version on all nodes"
            )
    if missing:
        raise BadInputError(
            f"{missing[0]} is on this machine, and not on node {node} of the cluster: put it where every "
            "node finds it under the same path, or give a name on the hub"
        )


def _plain(error: BaseException) -> BaseException:
    """What a task raised as it was raised, and `BrokenExecutor` for a lost actor."""
    from ray.exceptions import RayError, RayTaskError

    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        error.cause.add_note(f"On a node of the cluster:\n{error}")
        return error.cause
    if isinstance(error, RayError):
        return BrokenExecutor(f"its worker was lost ({first_line(error).rstrip('.')})")
    return error
