"""The service on a socket: loopback unless told otherwise, connections bounded, a graceful stop."""

import asyncio
import json
import math
import signal
import socket
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from corrpo.errors import BadInputError
from corrpo.monitor.service.app import HEADERS, Service
from corrpo.monitor.service.limits import Limits, is_loopback

LINGER = 2.0
"""Seconds for which a refused client that still sends is read, as it would not see the refusal otherwise."""
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
        http=bounded(service.limits, service.metrics.refused),
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


def bounded(limits: Limits, refused: Counter[str]) -> type[H11Protocol]:
    """HTTP/1.1 with bounds on connections and on the time that a client may take.

    What is no request at all, or ends before it is whole, is answered with 400; headers that take too long
    with 408, or by closing if nothing was sent; a client that takes no part of its answer is let go. Each is
    counted in `refused`.
    """
    longest = limits.seconds + 3 * limits.client_seconds  # headers, body, the work, the last of the answer

    class Bounded(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._ended = False
            self._timers: dict[str, asyncio.TimerHandle] = {}
            self._after("all", longest, transport.abort)
            if len(self.connections) > limits.connections:
                self._end(503, "connections", "too many connections; try again later")
            else:
                self._after("headers", limits.client_seconds, self._check_begun)

        def connection_lost(self, exc: Exception | None) -> None:
            for timer in self._timers.values():
                timer.cancel()
            super().connection_lost(exc)

        def _after(self, name: str, seconds: float, call: Callable[[], None]) -> None:
            self._timers[name] = asyncio.get_running_loop().call_later(seconds, call)

        def _check_begun(self) -> None:
            if self.cycle is not None or self._ended or self.transport.is_closing():
                return
            if self.conn.trailing_data[0]:
                told = f"the headers did not arrive within {limits.client_seconds:g} seconds"
                self._end(408, "slow_headers", told)
            else:
                refused["slow_headers"] += 1
                self.transport.abort()

        def data_received(self, data: bytes) -> None:
            if not self._ended:
                super().data_received(data)

        def eof_received(self) -> None:
            """The client sends no more: a part of a request is told so; a whole one has lost its client."""
            whole = self.cycle is not None and not self.cycle.more_body
            if not whole and not self._ended and (self.cycle is not None or self.conn.trailing_data[0]):
                self.send_400_response("the request ended before it was whole")

        def send_400_response(self, msg: str) -> None:
            """Of what is no request of HTTP/1.1."""
            begun = self.cycle is not None and self.cycle.response_started
            if begun:
                self.transport.close()
            else:
                self._end(400, "malformed", msg)

        def _end(self, status: int, reason: str, told: str) -> None:
            """Answer, take no more from this client, and let it go."""
            refused[reason] += 1
            self._ended = True
            if self.cycle is not None:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self.transport.write(_answer(status, told))
            self.transport.write_eof()
            self.flow.resume_reading()
            self._after("linger", min(LINGER, limits.client_seconds), self.transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._after("writing", limits.client_seconds, self._slow_reader)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._timers.pop("writing").cancel()

        def _slow_reader(self) -> None:
            refused["slow_reader"] += 1
            self.transport.abort()

    return Bounded


def _answer(status: int, told: str) -> bytes:
    """An answer as bytes, for what no request could be made of."""
    body = json.dumps({"error": told}).encode()
    headers = {**HEADERS, "Content-Type": "application/json", "Content-Length": str(len(body))}
    if status == 503:
        headers["Retry-After"] = "1"
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
