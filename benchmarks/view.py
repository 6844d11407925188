"""What a reader of `corrpo view` waits for, on a made fingerprint of 500 samples of 2,000 tokens."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import psutil
from playwright.sync_api import sync_playwright

from common import heading, table
from corrpo.measurement.fingerprint import STATISTICS, Fingerprint
from corrpo.statistics import Correlation

SAMPLES, TOKENS, LAYERS, PROJECTIONS = 500, 2_000, 8, 4
WORDS = [" the", " so", "\n", "7", ",", " therefore", "<b>", "é"]
ORDERS = ("rho", "-entropy")
NEXT = "window.before = location.hash; $('next').click()"
JUMPED = "location.hash !== before && document.querySelector('.t.on') && $('map')"
PAINTED = """async () => {
  %s;
  do await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
  while (!(%s));
}"""


def made() -> Fingerprint:
    """A fingerprint of random numbers in which strength falls with entropy."""
    rng = np.random.default_rng(0)
    count = SAMPLES * TOKENS
    entropy = rng.exponential(size=count)
    norms = rng.lognormal(size=(count, LAYERS, PROJECTIONS)) / (1 + entropy)[:, None, None]
    names = [f"sample-{number:03d}" for number in range(SAMPLES)]
    nested = pl.Series("norms", norms).cast(pl.List(pl.List(pl.Float64)))
    tokens = pl.DataFrame(
        {
            "sample": np.repeat(names, TOKENS),
            "position": np.tile(np.arange(TOKENS, dtype=np.int32), SAMPLES),
            "token_id": rng.integers(150_000, size=count),
            "token": rng.choice(WORDS, size=count),
            "entropy_bits": entropy,
            "logprob": -entropy,
            "target_logit": 20 - entropy,
            "rank": np.ones(count, dtype=np.int32),
            "strength": norms.mean(axis=(1, 2)),
            "norms": nested,
        }
    )
    responses = pl.DataFrame(
        {
            "id": names,
            "prompt": [json.dumps(f"What is {number} + 1?") for number in range(SAMPLES)],
            "response": [f"<answer>{number + 1 + number % 2}</answer>" for number in range(SAMPLES)],
            "answer": [str(number + 1) for number in range(SAMPLES)],
        }
    )
    settings = {"estimator": "exact", "norm": "nuclear", "target": "logit", "layers": None}
    return Fingerprint(
        model={"name": "made", "attention_layers": LAYERS},
        samples={"name": "made"},
        settings=settings | {"projections": list("qkvo"), "confidence": 0.95},
        versions={},
        statistics=dict.fromkeys(STATISTICS, Correlation(-0.5, -0.51, -0.49, 0.001, count, SAMPLES)),
        tokens=tokens,
        responses=responses,
    )


def seconds(call: Callable[[], object]) -> float:
    """The time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def row(what: str, call: Callable[[int], object], numbers: range) -> list[str]:
    """The median and the longest time of `call` over `numbers`, each asked once."""
    times = [1e3 * seconds(lambda number=number: call(number)) for number in numbers]
    return [what, f"{np.median(times):.0f} ms", f"{max(times):.0f} ms"]


def server_rows(address: str) -> list[list[str]]:
    """What the server takes, over HTTP."""

    def get(path: str) -> None:
        urllib.request.urlopen(f"{address}api/0{path}").read()

    return [
        row("server: the index", lambda _: get(""), range(10)),
        row("server: a sample", lambda i: get(f"/{i}"), range(0, SAMPLES, 25)),
        row(
            "server: a token's map, its sample not yet read",
            lambda i: get(f"/{i}/{i}"),
            range(1, SAMPLES, 25),
        ),
        row("server: a token's map", lambda i: get(f"/1/{i}"), range(0, TOKENS, 50)),
    ]


def page_rows(address: str) -> list[list[str]]:
    """What a reader waits for in Chromium, from the action to the picture; nothing where there is none."""
    names = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    chromium = next(filter(None, names), None)
    if chromium is None:
        return []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 860})

        def act(script: str, done: str = "true") -> None:
            page.evaluate(PAINTED % (script, done))

        def shown(number: int) -> str:
            return f"location.hash.startsWith('#0/{number}/') && document.querySelectorAll('.t').length"

        def set_input(name: str, value: object) -> str:
            return f"$('{name}').value = '{value}'; $('{name}').dispatchEvent(new Event('input'))"

        first = seconds(lambda: (page.goto(address), page.wait_for_selector("#tokens .t")))
        rows = [
            ["page: first sight", f"{1e3 * first:.0f} ms", f"{1e3 * first:.0f} ms"],
            row("page: a sample", lambda i: act(f"openSample({i})", shown(i)), range(5, SAMPLES, 25)),
            row("page: a token", lambda i: act(f"spans[{i}].click()", "$('map')"), range(0, TOKENS, 100)),
            row("page: next jump", lambda _: act(NEXT, JUMPED), range(20)),
            row("page: quantile filter", lambda i: act(set_input("from", i)), range(0, 100, 5)),
            row("page: filter of samples", lambda i: act(set_input("search", i)), range(20)),
            row("page: order of samples", lambda i: act(set_input("sort", ORDERS[i % 2])), range(20)),
        ]
        browser.close()
    return rows


def main() -> None:
    """Write the fingerprint, open it by the command, and ask for what a reader would."""
    with tempfile.TemporaryDirectory() as folder:
        made().save(folder)
        size = (Path(folder) / "tokens.parquet").stat().st_size / 2**20
        command = [sys.executable, "-m", "corrpo.cli.main", "view", folder, "--no-browser"]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                address = process.stdout.readline().split()[0]
                ready = f"{time.perf_counter() - start:.1f} s"
                memory = psutil.Process(process.pid).memory_info
                at_first = memory().rss / 2**20
                rows = [
                    ["start of the command, once", ready, ready],
                    *server_rows(address),
                    *page_rows(address),
                ]
                at_last = memory().rss / 2**20
            finally:
                process.send_signal(signal.SIGINT)
    with heading(f"corrpo view: {SAMPLES} samples x {TOKENS:,} tokens, {LAYERS} layers x {PROJECTIONS}"):
        table(["request", "median", "longest"], rows)
        print(
            f"\nGoal: nothing but the start over 1 s. tokens.parquet: {size:.0f} MiB; memory of the server: "
            f"{at_first:.0f} MiB at first, {at_last:.0f} MiB at the end."
        )


if __name__ == "__main__":
    main()
