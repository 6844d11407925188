"""The thread of the model and the bounds on connections, without a model."""

import asyncio
import socket
import threading
import time
from collections import Counter

import pytest
import uvicorn

from corrpo.monitor.service.app import STATUS
from corrpo.monitor.service.connections import bounded_connections
from corrpo.monitor.service.limits import Limits
from corrpo.monitor.service.request_schemas import GENERATE, REFUSALS, SCORE, openapi
from corrpo.monitor.service.worker import OvertimeError, QueueFullError, StoppingError, Worker


@pytest.fixture
def worker():
    made = Worker(room=2, active=1)
    yield made
    made.stop()


async def all_of(job):
    return [value async for value in job.values()]


def hanging(event):
    event.wait(20)
    yield 1


def test_a_step_that_hangs_and_a_job_that_waits_are_reported_at_their_time(worker):
    event = threading.Event()

    async def ask():
        hangs = worker.submit(lambda: hanging(event), 0.3)
        waits = worker.submit(lambda: iter([1]), 0.3)
        return await asyncio.gather(all_of(hangs), all_of(waits), return_exceptions=True)

    start = time.monotonic()
    assert [type(item) for item in asyncio.run(ask())] == [OvertimeError, OvertimeError]
    assert time.monotonic() - start < 5
    event.set()


def test_what_was_made_before_the_time_was_over_is_handed_over(worker):
    async def ask():
        job = worker.submit(lambda: iter([1, 2, 3]), 0.5)
        await asyncio.sleep(0.7)
        return await all_of(job)

    assert asyncio.run(ask()) == [1, 2, 3]


def test_cancelled_jobs_make_room_in_the_queue(worker):
    event = threading.Event()

    async def ask():
        worker.submit(lambda: hanging(event), 9)
        while worker.waiting:
            await asyncio.sleep(0.01)
        gone = [worker.submit(lambda: iter([1]), 9) for _ in range(2)]
        with pytest.raises(QueueFullError, match="2 requests wait"):
            worker.submit(lambda: iter([1]), 9)
        gone[0].cancelled = True
        stays = worker.submit(lambda: iter(["stays"]), 9)
        event.set()
        return await all_of(stays)

    assert asyncio.run(ask()) == ["stays"]


def test_an_error_is_reported_and_the_thread_lives(worker):
    async def ask():
        first = worker.submit(lambda: 1 / 0, 9)
        with pytest.raises(ZeroDivisionError):
            await all_of(first)
        return await all_of(worker.submit(lambda: iter([5]), 9))

    assert asyncio.run(ask()) == [5]
    assert worker.alive


def test_the_end_fails_what_is_left_and_takes_no_more(worker):
    event = threading.Event()

    async def ask():
        jobs = [worker.submit(lambda: hanging(event), 9) for _ in range(2)]
        while worker.waiting > 1:
            await asyncio.sleep(0.01)
        worker.end()
        event.set()
        with pytest.raises(StoppingError):
            worker.submit(lambda: iter([1]), 9)
        return await asyncio.gather(*map(all_of, jobs), return_exceptions=True)

    assert [type(item) for item in asyncio.run(ask())] == [StoppingError, StoppingError]


async def endless(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(2000):
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def endless_server():
    limits, refused = Limits(client_timeout=0.5, timeout=60, connections=3), Counter()
    with socket.create_server(("127.0.0.1", 0)) as opened:
        http = bounded_connections(limits, refused)
        config = uvicorn.Config(endless, http=http, ws="none", lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        yield refused, server, opened.getsockname()
        server.should_exit = True
        thread.join(10)


def wait_for(condition):
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_client_that_takes_no_part_of_its_answer_is_let_go(endless_server):
    refused, server, address = endless_server
    with socket.create_connection(address) as reader:
        reader.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wait_for(lambda: refused["slow_reader"] == 1)
        assert wait_for(lambda: not server.server_state.connections)


def test_connections_beyond_the_bound_are_asked_to_come_again(endless_server):
    _, server, address = endless_server
    waiting = [socket.create_connection(address) for _ in range(3)]
    assert wait_for(lambda: len(server.server_state.connections) == 3)
    with socket.create_connection(address) as late:
        late.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = late.recv(4096)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer
    for job in waiting:
        job.close()


def test_every_status_that_is_given_is_in_the_document():
    given = {*STATUS.values(), 401, 403, 415, 429}
    assert {str(status) for status in given} == set(REFUSALS)
    document = openapi("1", token=True)
    assert document["paths"]["/health"]["get"]["security"] == []
    assert document["components"]["schemas"]["Score"] is SCORE
    assert document["components"]["schemas"]["Generate"] is GENERATE
    assert set(document["paths"]["/v1/score"]["post"]["responses"]) == {"200", *REFUSALS}
