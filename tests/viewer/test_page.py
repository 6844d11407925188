"""The viewer in a browser: clicks, filters, jumps, and hostile tokens that stay text."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from playwright.sync_api import expect, sync_playwright

from viewer.results import HOSTILE, made

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None and not os.environ.get("CI"), reason="there is no Chromium on the PATH"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The real command over two results, one of 50 samples of 2,000 tokens."""
    folder = tmp_path_factory.mktemp("results")
    made(6, 32, texts=HOSTILE).save(folder / "hostile")
    made(50, 2000).save(folder / "large")
    command = [sys.executable, "-m", "corrpo.cli.main", "view", str(folder), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        yield re.match(r"http://127\.0\.0\.1:\d+/", line)[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130, -signal.SIGINT)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    opened = browser.new_page(viewport={"width": 1300, "height": 800})
    told = []
    opened.on("console", lambda message: told.append(message.text))
    opened.on("pageerror", lambda error: told.append(str(error)))
    opened.goto(address)
    opened.wait_for_selector("#tokens .t")
    yield opened
    opened.close()
    assert told == []


def choose(page, label):
    page.select_option("#result", label=label)
    page.wait_for_function(
        "name => document.querySelector('#headline').textContent.includes('made')", arg=label
    )


def test_a_click_shows_probability_rank_and_map(page):
    page.click("#tokens .t >> nth=3")
    page.wait_for_selector("#map td")
    detail = page.inner_text("#detail")
    assert "probability" in detail
    assert re.search(r"rank\s+1", detail)
    assert page.locator("#map td").count() == 4
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#detail")).to_contain_text("was not measured")
    assert "/5/" in page.url


def test_hostile_tokens_stay_text(page):
    assert page.evaluate("window.hacked") is None
    assert page.inner_text("#tokens .t >> nth=0") == HOSTILE[0]
    assert page.inner_text("#tokens .t >> nth=2") == r"\u202egnp.exe"
    assert page.locator("#tokens script, #tokens div").count() == 0


def test_samples_are_filtered_and_sorted(page):
    assert page.inner_text("#shown") == "6 of 6 samples"
    page.select_option("#correct", "true")
    assert page.inner_text("#shown") == "2 of 6 samples"
    page.select_option("#correct", "")
    page.fill("#search", "5 + 1")
    assert page.inner_text("#shown") == "1 of 6 samples"
    page.fill("#search", "")
    page.select_option("#sort", "rho")
    listed = page.locator("#samples small").all_inner_texts()
    rhos = [float(re.search(r"ρ (\S+)", text)[1].replace("−", "-")) for text in listed]
    assert rhos == sorted(rhos)


def test_colours_and_quantiles_change_the_tokens(page):
    first = page.locator("#tokens .t >> nth=0")
    by_entropy = first.evaluate("each => each.style.getPropertyValue('--q')")
    page.check("input[value=disagreement]")
    assert first.evaluate("each => each.style.getPropertyValue('--q')") != by_entropy
    assert "weak gradient" in page.inner_text("#legend")
    page.fill("#from", "0.5")
    dimmed = page.locator("#tokens .t.dim").count()
    assert 0 < dimmed < 32
    page.fill("#from", "0")
    assert page.locator("#tokens .t.dim").count() == 0


def test_j_and_k_jump_across_samples_of_a_large_result(page, tmp_path):
    page.select_option("#result", label="large")
    expect(page.locator("#tokens .t")).to_have_count(2000)
    seen = set()
    for _ in range(5):
        before = page.url
        page.keyboard.press("j")
        expect(page).not_to_have_url(before)
        page.wait_for_selector("#tokens .t.on")
        seen.add(re.search(r"#1/(\d+)/", page.url)[1])
    expect(page.locator("#jump")).to_have_text(re.compile("^5 of 500"))
    assert len(seen) > 1
    page.keyboard.press("k")
    expect(page.locator("#jump")).to_have_text(re.compile("^4 of 500"))
    page.wait_for_selector("#map td")
    page.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_an_address_brings_back_the_place(page, address):
    page.goto(f"{address}#1/3/12/strength")
    page.reload()
    page.wait_for_selector("#tokens .t.on")
    assert page.locator("#tokens .t.on").get_attribute("data-i") == "12"
    assert page.is_checked("input[value=strength]")
    assert page.locator("#samples button[aria-current=true]").get_attribute("data-place") == "3"
