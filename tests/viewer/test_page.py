"""The viewer in a browser: clicks, keys, filters, jumps, and hostile tokens that stay text."""

import re
import time

import pytest

from viewer.browser import CHROMIUM, needs_chromium, viewing
from viewer.results import HOSTILE, made

pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The real command over two results, one of 50 samples of 2,000 tokens."""
    folder = tmp_path_factory.mktemp("results")
    made(6, 32, texts=HOSTILE).save(folder / "hostile")
    made(50, 2000).save(folder / "large")
    with viewing(folder) as viewed:
        yield viewed


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    """The page on the hostile result; at the end the console is empty, and no other host was asked."""
    opened = browser.new_page(viewport={"width": 1400, "height": 860})
    opened.set_default_timeout(15_000)
    messages, asked = [], []
    opened.on("console", lambda message: messages.append(message.text))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#tokens .t")
    yield opened
    assert opened.inner_text("#notice") in ("", FEW)
    opened.close()
    assert messages == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


FEW = "The interval rests on 6 samples; its coverage was studied from 10 on, so do not rely on it."


def until(page, expression, argument=None):
    """Wait for a JavaScript expression to hold; Playwright's own wait needs an eval that the page forbids."""
    deadline = time.monotonic() + 15
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, expression
        time.sleep(0.01)


def choose_large(page):
    page.select_option("#result", label="large")
    until(page, "document.querySelectorAll('#tokens .t').length === 2000")


def test_the_head_says_what_is_shown(page):
    assert page.inner_text("#model") == "made on sums"
    assert page.inner_text("#headline") == "ρ −0.10 [−0.20, 0.00] over 132 tokens"
    assert page.inner_text("#estimator") == "exact"
    assert page.inner_text("#notice") == FEW
    page.click("#settings summary")
    assert "nuclear" in page.inner_text("#settings dl")


def test_a_click_shows_probability_rank_and_map(page):
    page.click("#tokens .t >> nth=3")
    page.wait_for_selector("#map td")
    detail = page.inner_text("#detail")
    assert "probability" in detail
    assert re.search(r"rank\s+1\b", detail)
    assert re.search(r"entropy\s+\S+ bits \(quantile 0\.\d\d\)", detail)
    assert page.locator("#map td").count() == 4
    assert all(re.search(r"\d", text) for text in page.locator("#map td").all_inner_texts())
    page.click("#tokens .t >> nth=5")
    until(page, "document.querySelector('#detail').textContent.includes('was not measured')")
    assert page.locator("#map").count() == 0


def test_every_token_can_be_reached_with_the_keyboard(page):
    page.focus("#tokens .t >> nth=0")
    page.keyboard.press("Enter")
    page.wait_for_selector("#map td")
    assert page.locator(".t.on").get_attribute("data-i") == "0"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.i") == "1"
    assert page.locator("[aria-selected=true]").get_attribute("data-i") == "1"
    page.focus("#search")
    page.keyboard.press("j")
    assert page.input_value("#search") == "j"
    page.fill("#search", "")


def test_hostile_tokens_stay_text(page):
    assert page.evaluate("window.hacked") is None
    shown = page.locator("#tokens .t").all_inner_texts()
    assert shown[:3] == [HOSTILE[0], r"\x00\x1b[31m", r"\u202egnp.exe"]
    assert shown[4] == "line⏎\nbreak"
    assert shown[6] == "</div>"
    assert page.locator("#tokens .t *").count() == 0
    page.click("#tokens .t >> nth=7")
    page.wait_for_selector("#map td")
    assert "10,000, of which 199 are shown" in page.inner_text("#detail")


def test_samples_are_filtered_and_sorted(page):
    assert page.inner_text("#shown") == "6 of 6 samples; 2 not known (no right answer to compare with)"
    for value, count in (("true", 2), ("false", 2), ("null", 2), ("", 6)):
        page.select_option("#correct", value)
        assert page.inner_text("#shown").startswith(f"{count} of 6 samples")
        assert page.locator("#samples li").count() == count
    page.fill("#search", "5 + 1")
    assert page.locator("#samples li").count() == 1
    page.fill("#search", "S3")
    assert page.text_content("#samples bdi") == "s3"
    page.fill("#search", "")
    page.select_option("#sort", "rho")
    assert listed(page, r"ρ (\S+)") == sorted(listed(page, r"ρ (\S+)"))
    page.select_option("#sort", "-entropy")
    assert listed(page, r"(\S+) bits") == sorted(listed(page, r"(\S+) bits"), reverse=True)


def listed(page, pattern):
    texts = page.locator("#samples small").all_text_contents()
    return [float(re.search(pattern, text.replace("tokens", " "))[1].replace("−", "-")) for text in texts]


def shades(page):
    """The shade and the classes of every token."""
    every = "[...document.querySelectorAll('#tokens .t')]"
    return page.evaluate(f"{every}.map((each) => [each.style.getPropertyValue('--q'), each.className])")


def test_each_colour_shades_by_its_own_quantity(page):
    content = page.evaluate("async () => (await fetch('api/0/0')).json()")
    for colour, column in (
        ("entropy", "entropy_quantile"),
        ("strength", "strength_quantile"),
        ("disagreement", "disagreement"),
    ):
        page.check(f"input[value={colour}]", force=True)
        for (shade, classes), value in zip(shades(page), content[column], strict=True):
            assert float(shade) == pytest.approx(abs(value or 0), abs=1e-3)
            assert ("none" in classes.split()) == (value is None)
            if colour == "disagreement":
                assert ("strong" in classes.split()) == (value is not None and value < 0)
        assert page.url.endswith(f"/{colour}")
    assert "undecided, weak" in page.inner_text("#legend")


def test_quantiles_dim_what_is_outside(page):
    content = page.evaluate("async () => (await fetch('api/0/0')).json()")
    page.fill("#from", "40")
    page.fill("#to", "70")
    pairs = list(zip(content["entropy_quantile"], content["strength_quantile"], strict=True))
    expected = [high is None or high < 0.4 or low > 0.7 for high, low in pairs]
    assert ["dim" in classes.split() for _, classes in shades(page)] == expected
    assert page.inner_text("#lit") == f"{expected.count(False)} of 32 tokens"
    assert page.inner_text("#from-value").startswith("0.40 · ")
    page.fill("#from", "0")
    page.fill("#to", "100")
    assert page.locator("#tokens .t.dim").count() == 0


def place(page):
    return tuple(map(int, re.search(r"#\d+/(\d+)/(\d+)/", page.url).groups()))


def jump(page, key):
    before = page.url
    page.keyboard.press(key)
    until(page, "before => location.href !== before", before)
    until(page, "document.querySelector('#tokens .t.on') && location.hash.split('/')[2] !== ''")
    return place(page)


def test_j_and_k_walk_through_a_large_result(page):
    choose_large(page)
    jumps = page.evaluate("async () => (await fetch('api/1')).json().then((index) => index.jumps)")
    expected = [(i, token) for i, tokens in enumerate(jumps) for token in tokens]
    assert len(expected) == 2000
    assert [jump(page, "j") for _ in range(len(jumps[0]) + 2)] == expected[: len(jumps[0]) + 2]
    assert [jump(page, "k") for _ in range(3)] == expected[len(jumps[0]) - 2 : len(jumps[0]) + 1][::-1]
    assert page.locator("#tokens .t.on").is_visible()
    assert re.search(r"\d+ of \d+ here, 2,000 in all", page.inner_text("#jump"))


def test_jumps_stay_among_the_samples_listed(page):
    choose_large(page)
    page.select_option("#correct", "true")
    right = [int(button.get_attribute("data-place")) for button in page.locator("#samples button").all()]
    page.locator("#samples button").first.click()
    until(page, "place => location.hash.startsWith(`#1/${place}/`)", right[0])
    seen = list(dict.fromkeys(jump(page, "j")[0] for _ in range(120)))
    assert len(seen) > 2
    assert seen == right[: len(seen)]
    page.fill("#search", "nowhere to be found")
    assert page.is_disabled("#next")
    assert page.inner_text("#jump") == "no token of high entropy and low gradient"


def test_an_address_brings_back_the_place(page, address):
    page.goto(f"{address}#1/3/12/strength")
    page.wait_for_selector("#tokens .t.on[data-i='12']")
    assert page.is_checked("input[value=strength]")
    assert page.locator("#samples button[aria-current=true]").get_attribute("data-place") == "3"
    page.reload()
    page.wait_for_selector("#tokens .t.on[data-i='12']")
    page.goto(f"{address}#7/<b>/x/<script>")
    until(page, "location.hash === '#0/0//strength'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_photographed(browser, address, tmp_path, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{address}#1/3/12/disagreement")
    page.wait_for_selector("#map td")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    page.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
    page.close()
