"""The service on a socket: loopback if nothing else is asked for, connections bounded, a graceful stop."""

import asyncio
import math
import signal
import socket

import uvicorn

from corrpo.errors import BadInputError
from corrpo.monitor.service.app import Service
from corrpo.monitor.service.connections import bounded_connections
from corrpo.monitor.service.limits import is_loopback

LAST = 5.0
"""Seconds to hand over the last answers when the time of a graceful stop is over."""


def listening(host: str, port: int, token: str | None) -> socket.socket:
    """A socket that listens, at any free port for 0.

    Raises:
        BadInputError: an address beyond this machine without a token, or one that cannot be used.
    """
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable()):
        raise BadInputError("the token must have 16 printable ASCII characters or more")
    if not is_loopback(host) and token is None:
        raise BadInputError(
            f"host {host} can be reached from other machines, which needs a token of at least 16 characters: "
            "--token, or CORRPO_MONITOR_TOKEN"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(128)
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{host} port {port} cannot be used ({reason}); give another") from error
    return opened


def serve(service: Service, opened: socket.socket, *, grace: float = 30.0) -> None:
    """Serve on a socket that listens, until SIGTERM or Ctrl-C.

    Then no new connection is taken, and what was taken has `grace` seconds to be answered; what is not done
    by then is answered with that.
    """
    config = uvicorn.Config(
        service.app,
        http=bounded_connections(service.limits, service.metrics.refused),
        ws="none",
        log_level="error",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=math.ceil(grace + LAST),
    )
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn gives the signal on when it has stopped
    try:
        _Server(config, service, grace).run(sockets=[opened])
    finally:
        service.worker.stop()
        signal.signal(signal.SIGTERM, before)


class _Server(uvicorn.Server):
    """Ends the jobs that are left when the time of a graceful stop is over, so that each has an answer."""

    def __init__(self, config: uvicorn.Config, service: Service, grace: float):
        super().__init__(config)
        self._service, self._grace = service, grace

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for what was taken."""
        asyncio.get_running_loop().call_later(self._grace, self._service.worker.end)
        await super().shutdown(sockets)
