"""The routes of the service, and what stands before each: host or token, rate, size, room in the queue."""

import asyncio
import hmac
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from corrpo.errors import BadInputError, CorrpoError, NonFiniteError
from corrpo.monitor.monitor import Monitor
from corrpo.monitor.service.limits import (
    HEADERS,
    Limits,
    Rates,
    TooLargeError,
    TooSlowError,
    is_loopback,
    read_body,
    throw_away,
)
from corrpo.monitor.service.metrics import Metrics
from corrpo.monitor.service.request_schemas import GENERATE, SCORE, MalformedError, openapi, parsed
from corrpo.monitor.service.worker import Job, OvertimeError, QueueFullError, StoppingError, Worker
from corrpo.monitor.watched_response import Watched
from corrpo.samples.encoding import TooLongError

STATUS: dict[type[Exception], int] = {
    TooLargeError: 413,
    TooLongError: 413,
    TooSlowError: 408,
    QueueFullError: 503,
    StoppingError: 503,
    OvertimeError: 504,
    NonFiniteError: 500,
    MalformedError: 400,
    BadInputError: 422,
}
"""The status of an answer by the error behind it; 500 for others."""
GONE = 499
"""Counted for a client that has gone, and never sent."""


class Service:
    """The web application over a monitor.

    Args:
        monitor: what scores and writes.
        limits: bounds on clients.
        token: what the Authorization header must bear; without one, only requests to a loopback name are
            answered, so that no web page of another site reads it.
    """

    def __init__(self, monitor: Monitor, limits: Limits, token: str | None = None):
        self.monitor, self.limits, self.token = monitor, limits, token
        self.worker = Worker(limits.queue)
        self.metrics, self.rates = Metrics(), Rates(limits.rate)
        self.failures = Rates(limits.bad_tokens)
        routes = {
            ("GET", "/health"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/openapi.json"): self._openapi,
            ("POST", "/v1/score"): self._score,
            ("POST", "/v1/generate"): self._generate,
        }
        guarded = [
            Route(path, self._guarded(path, answer), methods=[m]) for (m, path), answer in routes.items()
        ]
        self.app = _with_headers(Starlette(routes=guarded))

    def _guarded(
        self, path: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            start = time.monotonic()
            response = self._refusal(request, path)
            if response is not None:
                await throw_away(request, self.limits)
            else:
                try:
                    response = await answer(request)
                except ClientDisconnect:
                    response = self._refused("client_gone", GONE, "the client has gone")
                except Exception as error:  # every request gets an answer, whatever went wrong
                    response = _error_response(error)
                    self.metrics.refused[type(error).__name__] += 1
            self.metrics.answered(path, response.status_code, time.monotonic() - start)
            return response

        return endpoint

    def _refusal(self, request: Request, path: str) -> Response | None:
        """Why a request is not looked at, if so."""
        client = request.client.host if request.client else ""
        if path != "/health" or self.token is None:
            refused = self._not_trusted(request, client)
            if refused is not None:
                return refused
        if request.method != "POST":
            return None
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            return self._refused("type", 415, "the Content-Type must be application/json")
        wait = self.rates.wait(client)
        if wait:
            return self._slow_down(wait, f"at most {self.limits.rate:g} requests a second; wait")
        return None

    def _not_trusted(self, request: Request, client: str) -> Response | None:
        """The refusal of a request from elsewhere, without the token, or after too many bad ones."""
        if self.token is None:
            if is_loopback(_host_of(request.headers.get("host", ""))):
                return None
            message = "without a token, only requests to localhost or its address are answered"
            return self._refused("host", 403, message)
        wait = self.failures.wait(client, count=False)
        if wait:
            return self._slow_down(wait, "too many requests with a bad token; wait")
        given = request.headers.get("authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            return None
        self.failures.wait(client)
        refused = self._refused("token", 401, "the Authorization header must bear the token")
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused

    def _slow_down(self, wait: float, message: str) -> Response:
        refused = self._refused("rate", 429, message)
        refused.headers["Retry-After"] = str(math.ceil(wait))
        return refused

    def _refused(self, reason: str, status: int, message: str) -> Response:
        self.metrics.refused[reason] += 1
        return _message(status, message)

    async def _health(self, _request: Request) -> Response:
        good, facts = self.worker.alive, {}
        if self.token is None:  # with one, anybody may ask for the health, and sees no more than that
            model = self.monitor.description
            facts = {"model": model["name"], "digest": model["digest"], "waiting": self.worker.waiting}
        return JSONResponse({"status": "ok" if good else "broken", **facts}, status_code=200 if good else 503)

    async def _metrics(self, _request: Request) -> Response:
        now = {"waiting": self.worker.waiting, "working": self.worker.working}
        return PlainTextResponse(self.metrics.text(now), media_type="text/plain; version=0.0.4")

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(openapi(version("corrpo"), token=self.token is not None))

    async def _score(self, request: Request) -> Response:
        given = parsed(await read_body(request, self.limits), SCORE)

        def start() -> Iterator[Any]:
            prompt = self.monitor.prompt_ids(given["prompt"], self.limits.max_tokens)
            response = self.monitor.response_ids(given["response"], self.limits.max_tokens)
            self._check_length(len(prompt) + len(response))
            yield self.monitor.score(prompt, response)

        job = self.worker.submit(start, self.limits.timeout)
        try:
            scored = await _unless_gone(request, anext(job.values()))
        finally:
            job.cancelled = True
        self.metrics.tokens += scored.tokens
        self.metrics.flagged += bool(scored.flag)
        return JSONResponse(scored.as_dict())

    async def _generate(self, request: Request) -> Response:
        given = parsed(await read_body(request, self.limits), GENERATE)

        def start() -> Iterator[Any]:
            prompt = self.monitor.prompt_ids(given.pop("prompt"), self.limits.max_tokens)
            self._check_length(len(prompt) + given["max_new_tokens"])
            yield from self.monitor.watch(prompt, **given)

        job = self.worker.submit(start, self.limits.timeout)
        results = job.values()
        try:
            first = await _unless_gone(
                request, anext(results)
            )  # what cannot be begun is refused with its status
        except BaseException:
            job.cancelled = True
            raise
        return _Events(job, first, results, self.metrics)

    def _check_length(self, tokens: int) -> None:
        if tokens > self.limits.max_tokens:
            raise TooLargeError(
                f"prompt and response would have {tokens:,} tokens; at most {self.limits.max_tokens:,} are "
                "read"
            )


async def _unless_gone(request: Request, work: Awaitable[Any]) -> Any:
    """What `work` gives, or `ClientDisconnect` as soon as the client has gone; the body must be read."""
    gone, doing = asyncio.ensure_future(_disconnected(request.receive)), asyncio.ensure_future(work)
    try:
        await asyncio.wait((gone, doing), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        gone.cancel()
        doing.cancel()
        await asyncio.gather(gone, doing, return_exceptions=True)


def _host_of(header: str) -> str:
    """The name or address of a Host header, without brackets and port.

    >>> _host_of("localhost:80"), _host_of("[::1]:80"), _host_of("[::1]"), _host_of("127.0.0.1")
    ('localhost', '::1', '::1', '127.0.0.1')
    """
    host = header.partition("]")[0][1:] if header.startswith("[") else header.partition(":")[0]
    return host.lower()


def _with_headers(app: ASGIApp) -> ASGIApp:
    """The application with `HEADERS` on every answer, those for unknown paths too."""
    added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await app(scope, receive, send_more)

    return wrapped


class _Events(Response):
    """Server-sent events of one generation; a client that goes, or that the server lets go, ends it."""

    media_type = "text/event-stream"

    def __init__(self, job: Job, first: Watched, results: Any, metrics: Metrics):
        super().__init__(b"")
        del self.headers["content-length"]
        self.job, self.first, self.results, self.metrics = job, first, results, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send every token as it comes."""
        gone = asyncio.ensure_future(_disconnected(receive))
        writing = asyncio.ensure_future(self._write(send))
        try:
            await asyncio.wait((gone, writing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.job.cancelled = True
            for task in (gone, writing):
                task.cancel()
            await asyncio.gather(gone, writing, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await self._send_token(send, self.first)
            async for token in self.results:
                await self._send_token(send, token)
        except Exception as error:  # the answer has begun: its status can say nothing any more
            self.metrics.refused[type(error).__name__] += 1
            message = str(error) if isinstance(error, CorrpoError) else "the service failed"
            await self._send(send, "error", {"error": message})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_token(self, send: Send, token: Watched) -> None:
        self.metrics.tokens += 1
        fields = asdict(replace(token, final=None))
        del fields["final"]
        await self._send(send, "token", fields)
        if token.final is not None:
            self.metrics.flagged += bool(token.final.flag)
            await self._send(send, "done", token.final.as_dict())

    async def _send(self, send: Send, event: str, content: dict[str, Any]) -> None:
        body = f"event: {event}\ndata: {json.dumps(content)}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _error_response(error: Exception) -> Response:
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    message = str(error) if isinstance(error, CorrpoError) else "the service failed on this request"
    response = _message(status, message)
    if status == STATUS[QueueFullError]:
        response.headers["Retry-After"] = "1"
    return response


def _message(status: int, message: str) -> JSONResponse:
    clean = message.encode("utf-8", "replace").decode()
    return JSONResponse({"error": clean}, status_code=status)
