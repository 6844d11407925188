"""The service on a socket: loopback unless told otherwise, connections bounded, a graceful stop."""

import asyncio
import ipaddress
import signal
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from corrpo.errors import BadInputError
from corrpo.monitor.service.app import Service

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def listening(host: str, port: int, token: str | None) -> socket.socket:
    """A socket that listens, at any free port for 0.

    Raises:
        BadInputError: an address beyond this machine without a token, or one that cannot be used.
    """
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable()):
        raise BadInputError("the token must have 16 printable ASCII characters or more")
    if not _is_loopback(host) and token is None:
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(service: Service, opened: socket.socket, *, grace: float = 30.0) -> None:
    """Serve on a socket that listens, until SIGTERM or Ctrl-C.

    Then no new connection is taken, and what was taken has `grace` seconds to be answered.
    """
    config = uvicorn.Config(
        service.app,
        http=_protocol(service),
        ws="none",
        log_level="warning",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=int(grace),
    )
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn gives the signal on when it has stopped
    try:
        uvicorn.Server(config).run(sockets=[opened])
    finally:
        service.worker.stop()
        signal.signal(signal.SIGTERM, before)


def _protocol(service: Service) -> type[H11Protocol]:
    """HTTP/1.1 with a bound on connections, and on the time until a request's headers have come."""
    limits = service.limits

    class Bounded(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                service.metrics.refused["connections"] += 1
                transport.write(BUSY)
                transport.close()
                return
            asyncio.get_running_loop().call_later(limits.client_seconds, self._check_begun)

        def _check_begun(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                service.metrics.refused["slow_headers"] += 1
                self.transport.abort()

    return Bounded
