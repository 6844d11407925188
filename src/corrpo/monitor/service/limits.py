"""What bounds clients: their rate, the size of their requests, and the time they may take."""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from corrpo.errors import CorrpoError
from corrpo.monitor.options import ServiceOptions

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Connection": "close"}
"""Of every answer. A connection serves one request, so that an idle one is known by its lack of one."""
READ_AWAY = 8
"""Of a body that is too large, so many times the limit is read and thrown away."""


@dataclass(frozen=True, kw_only=True)
class Limits(ServiceOptions):
    """Bounds of the service.

    Raises:
        BadInputError: a bound that is not more than 0.
    """

    body_bytes: int = 1 << 20
    """Of a request."""
    connections: int = 512
    """Open at once."""
    bad_tokens: float = 10.0
    """Requests a second of one client with a bad token, and bursts of twice as many; after more, none of its
    requests is looked at until it has waited."""


class TooLargeError(CorrpoError):
    """A body is larger than the limit."""


class TooSlowError(CorrpoError):
    """A client did not send its request in time."""


class Rates:
    """A token bucket of `rate` requests a second for each client, for at most `clients` of them: the one idle
    longest is forgotten.
    """

    def __init__(self, rate: float, clients: int = 4096, clock: Callable[[], float] = time.monotonic):
        self.rate, self.burst = rate, max(2.0, 2 * rate)
        self._clients, self._clock = clients, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, *, count: bool = True) -> float:
        """0 if the client may ask now, which is counted unless told not to; else the seconds until it may."""
        now = self._clock()
        left, before = self._buckets.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - before) * self.rate)
        allowed = left >= 1
        self._buckets[client] = (left - (allowed and count), now)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self.rate


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body of a request; an error where it is too large, too slow, or the client has gone."""
    parts: list[bytes] = []
    size = await _read(request, limits, parts)
    if size > limits.body_bytes:
        raise TooLargeError(f"the body is longer than the {limits.body_bytes:,} bytes allowed")
    return b"".join(parts)


async def throw_away(request: Request, limits: Limits) -> None:
    """Read the body of a request that is refused, as a client that still sends would not see the refusal."""
    with suppress(TooSlowError, ClientDisconnect):
        await _read(request, limits, [])


async def _read(request: Request, limits: Limits, parts: list[bytes]) -> int:
    """How long the body is, at most a little over `READ_AWAY` times the limit; `parts` gets what may stay."""
    size = 0
    try:
        async with asyncio.timeout(limits.client_timeout):
            async for part in request.stream():
                size += len(part)
                if size <= limits.body_bytes:
                    parts.append(part)
                    continue
                parts.clear()
                if size > READ_AWAY * limits.body_bytes:
                    break
    except TimeoutError:
        raise TooSlowError(f"the body did not arrive within {limits.client_timeout:g} seconds") from None
    return size


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own.

    >>> is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("localhost"), is_loopback("example.com")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
