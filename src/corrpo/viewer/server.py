"""The viewer's server: three files and JSON, for this machine alone.

It listens on 127.0.0.1, answers GET only, to a Host of 127.0.0.1 or localhost with its own port (so that no
other site can read it by a name that points here), lets the page run no script but its own file, and names
results by number, never by path.
"""

import socket
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from corrpo.errors import BadInputError, CorrpoError
from corrpo.viewer.fingerprint_view import ViewedFingerprint

HOST = "127.0.0.1"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FILES = {
    "/": ("index.html", "text/html"),
    "/view.js": ("view.js", "text/javascript"),
    "/view.css": ("view.css", "text/css"),
}


def application(fingerprints: Sequence[ViewedFingerprint], port: int) -> Starlette:
    """The web application over some fingerprints, for requests to `port` of this machine."""

    async def listed(_request: Request) -> Response:
        return JSONResponse([fingerprint.label for fingerprint in fingerprints])

    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await run_in_threadpool(_content, fingerprints, request.path_params))
        except IndexError:
            return JSONResponse({"error": "there is no such result, sample or token"}, status_code=404)
        except CorrpoError as error:
            return JSONResponse({"error": str(error)}, status_code=500)

    routes = [Route(path, _page(*file)) for path, file in FILES.items()]
    routes += [
        Route("/api", listed),
        Route("/api/{result:int}", answer),
        Route("/api/{result:int}/{sample:int}", answer),
        Route("/api/{result:int}/{sample:int}/{token:int}", answer),
    ]
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=_guard(hosts))])


def _page(name: str, kind: str) -> Callable[[Request], Response]:
    content = (files("corrpo.viewer") / "static" / name).read_text(encoding="utf-8")
    return lambda _request: Response(content, media_type=kind)


def _guard(hosts: set[str]) -> Callable[[Request, Callable[[Request], Any]], Any]:
    """What stands before every route: the host, the method, and the headers of every reply."""

    async def dispatch(request: Request, call_next: Callable[[Request], Any]) -> Response:
        if request.headers.get("host") not in hosts:
            message = f"This page is for {' and '.join(sorted(hosts))} only; a tunnel must keep the port."
            response = PlainTextResponse(message, status_code=400)
        elif request.method != "GET":
            response = PlainTextResponse("Only GET is answered.", status_code=405, headers={"Allow": "GET"})
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    return dispatch


def _content(fingerprints: Sequence[ViewedFingerprint], numbers: dict[str, int]) -> dict[str, Any]:
    shown = fingerprints[numbers["result"]]
    if "token" in numbers:
        return shown.token(numbers["sample"], numbers["token"])
    return shown.sample(numbers["sample"]) if "sample" in numbers else shown.index


def listening(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1, at any free port for 0.

    Raises:
        BadInputError: the port is out of range, taken, or not for this user.
    """
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
        opened.listen()
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(
            f"port {port} cannot be used ({reason}); give another, or 0 for any free one"
        ) from error
    return opened


def serve(fingerprints: Sequence[ViewedFingerprint], opened: socket.socket) -> None:
    """Serve on a socket that listens, until Ctrl-C, which is passed on as KeyboardInterrupt."""
    port = opened.getsockname()[1]
    config = uvicorn.Config(
        application(fingerprints, port), log_level="warning", lifespan="off", timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[opened])
