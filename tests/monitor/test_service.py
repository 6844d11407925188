"""The service as clients meet it: many at once, malformed, hostile, hanging; how it is bound and stopped."""

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from corrpo.errors import BadInputError
from corrpo.monitor.service.limits import Limits, Rates
from corrpo.monitor.service.server import listening
from monitor_service import (
    HOSTILE_BYTES,
    PROMPT,
    SCORE,
    hostile_bodies,
    hostile_settings,
    running,
)

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def service():
    with running("--rate", "1000", "--max-tokens", "400", "--client-timeout", "1") as result:
        yield result


def events(text):
    return [
        (part.split("\n")[0].removeprefix("event: "), json.loads(part.split("data: ", 1)[1]))
        for part in text.strip().split("\n\n")
    ]


def test_health_metrics_and_openapi_are_there(service):
    status, body, _ = service.request("GET", "/health")
    assert (status, json.loads(body)["status"]) == (200, "ok")
    document = json.loads(service.request("GET", "/openapi.json")[1])
    assert set(document["paths"]) == {"/v1/score", "/v1/generate", "/health", "/metrics", "/openapi.json"}
    text = service.request("GET", "/metrics")[1]
    assert "# TYPE corrpo_monitor_request_seconds histogram" in text
    assert service.metric("resident_bytes") > MEGABYTE


def test_a_generation_streams_its_tokens_and_scores_as_it_was_watched(service):
    status, body, headers = service.request(
        "POST", "/v1/generate", {"prompt": PROMPT, "seed": 1, "max_new_tokens": 200}
    )
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    sent = events(body)
    assert [name for name, _ in sent[:-1]] == ["token"] * (len(sent) - 1)
    name, final = sent[-1]
    assert name == "done"
    text = "".join(token["text"] for _, token in sent[:-1])
    status, body, _ = service.request("POST", "/v1/score", {"prompt": PROMPT, "response": text})
    assert status == 200
    assert json.loads(body)["tokens"] == final["tokens"]
    assert json.loads(body)["rho"]["value"] == pytest.approx(final["rho"]["value"], abs=0.01)


def test_fifty_at_once_are_all_answered_alike(service):
    expected = json.loads(service.request("POST", "/v1/score", SCORE)[1])
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: service.request("POST", "/v1/score", SCORE), range(50)))
    assert [status for status, _, _ in replies] == [200] * 50
    assert all(json.loads(body) == expected for _, body, _ in replies)


def test_malformed_and_hostile_requests_are_refused_and_harm_nothing(service):
    for body, expected in hostile_bodies():
        status, reply, _ = service.request("POST", "/v1/score", body)
        assert status == expected, (body[:60], reply)
        assert json.loads(reply)["error"]
    for settings in hostile_settings():
        status, reply, _ = service.request("POST", "/v1/generate", {"prompt": PROMPT, **settings})
        assert status in (413, 422), (settings, reply)
    for content in HOSTILE_BYTES:
        assert service.raw(content)[:10] == b"HTTP/1.1 4", content[:60]
    assert service.raw(b"") == b"", "nothing was asked"
    for method, path, expected in (
        ("GET", "/v1/score", 405),
        ("DELETE", "/health", 405),
        ("GET", "/../../etc/passwd", 404),
    ):
        assert service.request(method, path)[0] == expected
    long = b"1" * MEGABYTE
    assert service.request("POST", "/v1/score", long, {"Content-Type": "text/plain"})[0] == 415
    assert service.request("POST", "/v1/score", long, {"Host": "evil.example"})[0] == 403
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]"):
        assert service.request("GET", "/health", headers={"Host": host})[0] == 403, host
    for host in ("localhost", "LOCALHOST:9", "127.0.0.1", "127.0.0.2:80", "[::1]:80", "[::1]"):
        assert service.request("GET", "/health", headers={"Host": host})[0] == 200, host
    assert service.request("POST", "/v1/score", SCORE)[0] == 200


def test_a_client_that_hangs_is_let_go_and_holds_up_nobody(service):
    head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    beginnings = (b"", b"POST /v1", head, head + b"Content-Length: 100\r\n\r\n{")
    hanging = [socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in beginnings]
    for one, beginning in zip(hanging, beginnings, strict=True):
        one.sendall(beginning)
    assert service.request("POST", "/v1/score", SCORE)[0] == 200
    for one in hanging:
        answer = b""
        with suppress(ConnectionError):
            while part := one.recv(4096):
                answer += part
        assert answer == b"" or b" 408 " in answer[:20]
        one.close()


def test_a_request_that_ends_before_it_is_complete_is_refused(service):
    head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for part in (b"P", b"\xff\n\xff", head, head + b"Content-Length: 100\r\n\r\n{"):
        answer = service.raw(part)
        assert answer.startswith(b"HTTP/1.1 400 "), part
        assert json.loads(answer.split(b"\r\n\r\n")[1])["error"] == "the request ended before it was whole"


def test_a_client_that_leaves_ends_its_generation(service):
    body = json.dumps({"prompt": PROMPT, "max_new_tokens": 300, "temperature": 50}).encode()
    head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as leaving:
        leaving.sendall(f"POST /v1/generate HTTP/1.1\r\n{head}".encode() + body)
        leaving.recv(200)
    for _ in range(100):
        if service.metric("working") == 0:
            break
        time.sleep(0.1)
    assert service.metric("working") == 0


@pytest.mark.slow
def test_memory_is_bounded(service):
    for _ in range(30):
        service.request("POST", "/v1/score", SCORE)
    before = service.metric("resident_bytes")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: service.request("POST", "/v1/score", SCORE), range(150)))
        list(pool.map(lambda _: service.request("POST", "/v1/score", b"1" * 2 * MEGABYTE), range(20)))
    assert service.metric("resident_bytes") < before + 40 * MEGABYTE


@pytest.mark.slow
def test_a_full_queue_and_too_many_requests_are_asked_to_wait():
    with running("--queue", "1", "--rate", "1000") as full, ThreadPoolExecutor(30) as pool:
        replies = list(pool.map(lambda _: full.request("POST", "/v1/score", SCORE), range(60)))
    statuses = {status for status, _, _ in replies}
    assert statuses == {200, 503}
    assert all(headers["retry-after"] == "1" for status, _, headers in replies if status == 503)
    times = iter([0.0, 0.0, 0.0, 0.0, 0.5, 1.0])
    rates = Rates(rate=1, clock=lambda: next(times))
    assert [rates.wait(client) for client in "aaba"] == [0, 0, 0, 1.0]
    assert rates.wait("a") == 0.5
    assert rates.wait("a") == 0


@pytest.mark.slow
def test_clients_beyond_the_rate_are_asked_to_wait():
    with running("--rate", "1") as slow:
        replies = [slow.request("POST", "/v1/score", SCORE) for _ in range(4)]
    assert replies[-1][0] == 429
    assert int(replies[-1][2]["retry-after"]) >= 1


@pytest.mark.slow
def test_a_stop_answers_what_was_taken_and_exits_cleanly():
    with running("--rate", "1000") as stopped, ThreadPoolExecutor(8) as pool:
        generation = {"prompt": PROMPT, "max_new_tokens": 150, "temperature": 20}
        answers = [pool.submit(stopped.request, "POST", "/v1/generate", generation) for _ in range(8)]
        while stopped.metric("tokens_total") < 20:
            time.sleep(0.05)
        stopped.process.send_signal(signal.SIGTERM)
        for answer in answers:
            status, body, _ = answer.result(timeout=120)
            assert (status, events(body)[-1][0]) == (200, "done")
        assert stopped.process.wait(timeout=60) == 0


@pytest.mark.slow
def test_when_the_time_of_a_stop_is_over_each_has_an_answer_all_the_same():
    with running("--rate", "1000", "--grace", "0.2") as stopped, ThreadPoolExecutor(12) as pool:
        generation = {"prompt": PROMPT, "max_new_tokens": 200, "temperature": 50}
        answers = [pool.submit(stopped.request, "POST", "/v1/generate", generation) for _ in range(12)]
        while stopped.metric("tokens_total") < 8 or stopped.metric("waiting") < 8:
            time.sleep(0.02)
        stopped.process.send_signal(signal.SIGTERM)
        outcomes = []
        for answer in answers:
            status, body, headers = answer.result(timeout=30)
            outcomes.append((status, events(body)[-1][0] if status == 200 else headers["retry-after"]))
        assert set(outcomes) == {(200, "error"), (503, "1")}
        assert stopped.process.wait(timeout=30) == 0


def test_other_addresses_need_a_token():
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):
        with pytest.raises(BadInputError, match="needs a token"):
            listening(host, 0, None)
    with pytest.raises(BadInputError, match="16 printable"):
        listening("0.0.0.0", 0, "short")
    with pytest.raises(BadInputError, match="cannot be used"):
        listening("127.0.0.1", 99999, None)
    with listening("127.0.0.1", 0, None) as opened:
        assert opened.getsockname()[0] == "127.0.0.1"


@pytest.mark.slow
def test_a_token_is_asked_of_everything_but_health():
    token = "a-token-of-many-characters"
    with running("--host", "0.0.0.0", environment={"CORRPO_MONITOR_TOKEN": token}) as guarded:
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {token}"}):
            for method, path in (("POST", "/v1/score"), ("GET", "/metrics"), ("GET", "/openapi.json")):
                assert guarded.request(method, path, SCORE, headers)[0] == 401
        large = guarded.request("POST", "/v1/score", b"1" * 4 * MEGABYTE)
        assert large[0] == 401, "a client that still sends sees the refusal"
        status, reply, _ = guarded.request("GET", "/health")
        assert (status, json.loads(reply)) == (200, {"status": "ok"}), "and no more without the token"
        assert guarded.request("POST", "/v1/score", SCORE, {"Authorization": f"Bearer {token}"})[0] == 200


@pytest.mark.slow
def test_clients_that_try_tokens_are_asked_to_wait_whatever_token_they_bear():
    token = "a-token-of-many-characters"
    good, bad = {"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer x"}
    with running("--host", "0.0.0.0", environment={"CORRPO_MONITOR_TOKEN": token}) as guarded:
        tried = [guarded.request("GET", "/metrics", None, bad)[0] for _ in range(200)]
        assert set(tried) == {401, 429}
        status, reply, headers = guarded.request("GET", "/metrics", None, good)
        assert (status, headers["retry-after"]) == (429, "1"), reply
        assert guarded.request("GET", "/health")[0] == 200
        time.sleep(1)
        assert guarded.request("GET", "/metrics", None, good)[0] == 200


def test_asking_whether_a_client_may_ask_is_not_counted():
    rates = Rates(rate=1, clock=lambda: 0.0)
    assert [rates.wait("one", count=False) for _ in range(5)] == [0.0] * 5
    assert [rates.wait("one") for _ in range(3)] == [0.0, 0.0, 1.0]
    assert rates.wait("one", count=False) == 1.0


def test_buckets_of_clients_are_bounded():
    rates = Rates(rate=1, clients=10, clock=lambda: 0.0)
    for client in range(1000):
        rates.wait(str(client))
    assert len(rates._buckets) == 10
    with pytest.raises(BadInputError, match="queue=0"):
        Limits(queue=0)
