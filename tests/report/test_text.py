"""Strings that cannot break a page, and numbers that do not lie."""

import unicodedata
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from corrpo.report.formatting import decimal, token_text, visible
from corrpo.report.html_templates import render


@given(st.text(st.characters(codec=None)))
def test_what_is_made_visible_is_valid_everywhere(text):
    shown = visible(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(char)[0] == "C" for char in shown)
    escaped = shown.replace("&", "&amp;").replace("<", "&lt;")
    assert ElementTree.fromstring(f"<a>{escaped}</a>").text in (shown, None)


def test_ordinary_text_is_left_alone():
    assert visible("naïve 数学 שלום x² <b>") == "naïve 数学 שלום x² <b>"


def test_tokens_show_their_spaces_and_stay_short():
    assert token_text("  a") == "␣␣a"
    assert len(token_text("x" * 10_000)) == 40


@given(st.floats(-1, 1))
def test_a_decimal_is_the_number_it_rounds(value):
    assert abs(float(decimal(value).replace("−", "-")) - value) <= 0.005 + 1e-12
    assert decimal(value) != "−0.00"


def test_a_number_that_does_not_exist_is_a_dash():
    assert decimal(None) == "—"


def test_templates_escape_and_make_visible(tmp_path, monkeypatch):
    (tmp_path / "x.html").write_text("{{ a }}|{{ b | decimal }}")
    monkeypatch.setattr("corrpo.report.html_templates.TEMPLATES", tmp_path)
    shown = render("x.html", a="<script>\u202e\ud800", b=-0.123456789)
    assert shown == '&lt;script&gt;\\u202e\\ud800|<data value="-0.123456789">−0.12</data>'
