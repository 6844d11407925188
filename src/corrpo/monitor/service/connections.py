"""Connections of the service: HTTP/1.1 with bounds on their number and on the time that a client may take."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from corrpo.monitor.service.limits import HEADERS, Limits

LINGER = 2.0
"""Seconds for which a refused client that still sends is read, as it would not see the refusal otherwise."""


def bounded_connections(limits: Limits, refused: Counter[str]) -> type[H11Protocol]:
    """Connections with these bounds, for uvicorn; what they refuse is counted in `refused`."""
    return type("Connection", (BoundedConnection,), {"limits": limits, "refused": refused})


class BoundedConnection(H11Protocol):
    """One connection of HTTP/1.1, with bounds on the time that its client may take.

    What is no request at all, or ends before it is complete, is answered with 400; headers that take too long
    with 408, or by closing if nothing was sent; a client that takes no part of its answer is let go.

    Attributes:
        limits: bounds of the service.
        refused: counts by reason; each of the above is counted.
    """

    limits: Limits
    refused: Counter[str]

    def connection_made(self, transport: Any) -> None:
        """Begin to count the client's time, or refuse one connection too many."""
        super().connection_made(transport)
        self._ended = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        limits = self.limits
        # the client's own time is for headers, for the body, and for the last of the answer
        longest = limits.timeout + 3 * limits.client_timeout
        self._after("all", longest, transport.abort)
        if len(self.connections) > limits.connections:
            self._end(503, "connections", "too many connections; try again later")
        else:
            self._after("headers", limits.client_timeout, self._check_begun)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        for timer in self._timers.values():
            timer.cancel()
        super().connection_lost(exc)

    def _after(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, call)

    def _check_begun(self) -> None:
        if self.cycle is not None or self._ended or self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            message = f"the headers did not arrive within {self.limits.client_timeout:g} seconds"
            self._end(408, "slow_headers", message)
        else:
            self.refused["slow_headers"] += 1
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on, unless the client was refused."""
        if not self._ended:
            super().data_received(data)

    def eof_received(self) -> None:
        """The client sends no more: a part of a request is refused; a complete one has lost its client."""
        is_complete = self.cycle is not None and not self.cycle.more_body
        if not is_complete and not self._ended and (self.cycle is not None or self.conn.trailing_data[0]):
            self.send_400_response("the request ended before it was whole")

    def send_400_response(self, msg: str) -> None:
        """Of what is no request of HTTP/1.1."""
        if self.cycle is not None and self.cycle.response_started:
            self.transport.close()
        else:
            self._end(400, "malformed", msg)

    def _end(self, status: int, reason: str, message: str) -> None:
        """Answer, take no more from this client, and let it go."""
        self.refused[reason] += 1
        self._ended = True
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_error_response(status, message))
        self.transport.write_eof()
        self.flow.resume_reading()
        self._after("linger", min(LINGER, self.limits.client_timeout), self.transport.abort)

    def pause_writing(self) -> None:
        """The client takes nothing: count its time."""
        super().pause_writing()
        self._after("writing", self.limits.client_timeout, self._slow_reader)

    def resume_writing(self) -> None:
        """The client takes its answer again."""
        super().resume_writing()
        self._timers.pop("writing").cancel()

    def _slow_reader(self) -> None:
        self.refused["slow_reader"] += 1
        self.transport.abort()


def _error_response(status: int, message: str) -> bytes:
    """An answer as bytes, for what no request could be made of."""
    body = json.dumps({"error": message}).encode()
    headers = {**HEADERS, "Content-Type": "application/json", "Content-Length": str(len(body))}
    if status == 503:
        headers["Retry-After"] = "1"
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
