"""The service under load: 50 clients for a minute, 1,000 hostile requests, and clients that hang."""

import argparse
import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from common import heading
from monitor_service import (
    HOSTILE_BYTES,
    PROMPT,
    SCORE,
    Running,
    hostile_bodies,
    hostile_settings,
    running,
)


def ask(service: Running, until: float, seed: int) -> list[tuple[str, float]]:
    """One client: scores, and a generation now and then; the outcome and seconds of each."""
    rng, outcomes = random.Random(seed), []
    while time.monotonic() < until:
        start = time.monotonic()
        if rng.random() < 0.1:
            body = {"prompt": PROMPT, "max_new_tokens": 40, "seed": rng.randrange(1 << 30)}
            status, text, _ = service.request("POST", "/v1/generate", body, timeout=120)
            outcome = f"generate {status}" if "event: done" in text or status != 200 else "LOST"
        else:
            status, _, _ = service.request("POST", "/v1/score", SCORE, timeout=120)
            outcome = f"score {status}"
        outcomes.append((outcome, time.monotonic() - start))
        if status == 503:
            time.sleep(1)
    return outcomes


def hostile(service: Running, count: int) -> Counter[str]:
    """`count` hostile requests of every kind; what came back."""
    rng, outcomes = random.Random(0), Counter[str]()
    bodies, settings = hostile_bodies(), hostile_settings()
    for number in range(count):
        kind = number % 3
        if kind == 0:
            status = service.request("POST", "/v1/score", rng.choice(bodies)[0])[0]
        elif kind == 1:
            status = service.request("POST", "/v1/generate", {"prompt": PROMPT, **rng.choice(settings)})[0]
        else:
            sent = rng.choice([b"", *HOSTILE_BYTES, rng.randbytes(500)])
            reply = service.raw(sent)
            status = reply[9:12].decode("ascii", "replace") or ("closed" if sent else "closed, nothing sent")
        outcomes[str(status)] += 1
    return outcomes


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--hostile", type=int, default=1000)
    options = parser.parse_args(words)
    with (
        running("--rate", "100000", "--queue", "64", "--client-timeout", "2") as service,
        heading("The service under load"),
    ):
        for _ in range(20):
            service.request("POST", "/v1/score", SCORE)
        memory = [service.metric("resident_bytes")]
        hanging = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(20)]
        for number, one in enumerate(hanging):
            one.sendall(b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\n"[: 1 + 2 * number])
        until = time.monotonic() + options.seconds
        with ThreadPoolExecutor(options.clients) as pool:
            timed = [
                outcome
                for part in pool.map(lambda seed: ask(service, until, seed), range(options.clients))
                for outcome in part
            ]
        memory.append(service.metric("resident_bytes"))
        outcomes = Counter(outcome for outcome, _ in timed)
        times = sorted(seconds for outcome, seconds in timed if outcome == "score 200")
        print(f"{options.clients} clients, {options.seconds:g} s, 20 hanging: {dict(outcomes)}")
        if times:
            middle, late = times[len(times) // 2], times[int(0.95 * len(times))]
            print(f"score: median {middle:.2f} s, 95 % within {late:.2f} s")
        print(f"{options.hostile} hostile requests: {dict(hostile(service, options.hostile))}")
        memory.append(service.metric("resident_bytes"))
        print("memory (MB) before, after load, after hostile:", [round(size / 2**20) for size in memory])
        print("alive:", service.process.poll() is None, service.request("POST", "/v1/score", SCORE)[0])
        print("hanging connections let go:", service.metric('refused_total{reason="slow_headers"}'))


if __name__ == "__main__":
    main()
