"""A running service for tests and the load script: a process, its address, and raw requests to it."""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

PROMPT = "What is 58 + 67?"
RESPONSE = "<think>58+67: 8+7=15 and 5+6+1=12, so 125</think><answer>125</answer>"
SCORE = {"prompt": PROMPT, "response": RESPONSE}


class Running:
    """One service in a process of its own."""

    def __init__(self, process: subprocess.Popen, port: int):
        self.process, self.port = process, port

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers (lower case) of an answer; `body` as it stands if it is bytes."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, path, content, {**sent, **(headers or {})})
            reply = connection.getresponse()
            received = {name.lower(): value for name, value in reply.getheaders()}
            return reply.status, reply.read().decode(), received
        finally:
            connection.close()

    def raw(self, content: bytes, *, timeout: float = 30) -> bytes:
        """What comes back for bytes that may be no request at all, until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sent:
            try:
                sent.sendall(content)
                sent.shutdown(socket.SHUT_WR)
                parts = []
                while part := sent.recv(65536):
                    parts.append(part)
            except ConnectionError:
                return b""
            return b"".join(parts)

    def metric(self, name: str) -> float:
        """One value of /metrics."""
        text = self.request("GET", "/metrics")[1]
        result = re.search(rf"^corrpo_monitor_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(result[1]) if result else 0.0


@contextmanager
def running(*options: str, model: str = "lab:qwen2/reasoning", environment: dict[str, str] | None = None):
    """A service that answers, ended at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "corrpo.cli.main", "monitor", model, "--serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        result = re.search(r":(\d+)/", line)
        assert result, f"the service did not start: {line!r}"
        yield Running(process, int(result[1]))
    finally:
        process.kill()
        process.wait()


def hostile_bodies() -> list[tuple[bytes, int]]:
    """Bodies for /v1/score that must be refused, with the status of the refusal."""
    good = json.dumps(SCORE)
    return [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe\x00", 400),
        (b"[" * 100_000, 400),
        (b'{"prompt": NaN, "response": "x"}', 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b'{"prompt": "x"}', 422),
        (b'{"prompt": 7, "response": "xx"}', 422),
        (b'{"prompt": [], "response": "xx"}', 422),
        (b'{"prompt": [1, 2], "response": "xx"}', 422),
        (b'{"prompt": [{"role": "user"}], "response": "xx"}', 422),
        (b'{"prompt": [{"role": {}, "content": []}], "response": "xx"}', 422),
        (b'{"prompt": [{"role": "\\ud800", "content": "x"}], "response": "xx"}', 422),
        (b'{"prompt": "x", "response": 3}', 422),
        (b'{"prompt": "x", "response": ""}', 422),
        (b'{"prompt": "\\ud800", "response": "xx"}', 422),
        (b'{"prompt": "x", "response": "\\udfff"}', 422),
        (good.replace("}", ', "model": "/etc/passwd"}').encode(), 422),
        (json.dumps({"prompt": "x", "response": "1" * 5000}).encode(), 413),
        (json.dumps({"prompt": "x", "response": "1" * (1 << 21)}).encode(), 413),
        (json.dumps({"prompt": "x" * 900_000, "response": "xx"}).encode(), 413),
        (json.dumps({"prompt": "x", "response": "1" * 900_000}).encode(), 413),
    ]


def hostile_settings() -> list[dict[str, Any]]:
    """Settings for /v1/generate that must be refused."""
    return [
        {"max_new_tokens": 0},
        {"max_new_tokens": 1.5},
        {"max_new_tokens": True},
        {"max_new_tokens": 10**30},
        {"max_new_tokens": 100_000},
        {"temperature": -1},
        {"temperature": "hot"},
        {"top_p": 0},
        {"top_p": 1.1},
        {"seed": -1},
        {"seed": 1 << 70},
        {"stop": "x"},
    ]


HOSTILE_BYTES = (
    b"\x00" * 4096,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)
