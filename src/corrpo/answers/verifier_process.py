"""The process of a verifier or another `respond`: `corrpo.answers.verifier` starts and stops it.

Run as `verifier_process.py SCRIPT NUMBER`: the function `respond` of the script answers what comes over the
connection of that file number, keywords for a verdict and a detail. Requests are pickled, for they come from
the owner; replies are JSON, for what is verified is a model's text and the owner trusts none of it.
"""

import json
import runpy
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

MEMORY_LIMIT = 4 << 30
"""Bytes of address space, so that a tower of powers ends this process and not the machine."""


def serve(connection: Connection, respond: Callable[..., tuple[str, str]]) -> None:
    """Answer requests until the other side closes; a process left alone with a hard one ends by itself."""
    connection.send_bytes(b"ready")
    while True:
        try:
            limit, request = connection.recv()
        except EOFError:
            return
        signal.alarm(int(limit) + 5)
        try:
            reply = respond(**request)
        except MemoryError:
            sys.exit("corrpo: a piece of work took more memory than its process may use")
        signal.alarm(0)
        connection.send_bytes(json.dumps(reply).encode())


def _limit_memory() -> None:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or most > MEMORY_LIMIT:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, most))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        _limit_memory()
    serve(Connection(int(sys.argv[2])), runpy.run_path(sys.argv[1])["respond"])
