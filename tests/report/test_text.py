"""Strings that cannot break a page, and numbers that do not lie."""

import unicodedata
from dataclasses import replace
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from corrpo.errors import visible
from corrpo.report.explanations import warnings
from corrpo.report.formatting import decimal, token_text
from corrpo.report.html_templates import render
from corrpo.report.terminal_tables import fingerprint_lines
from corrpo.statistics import Correlation
from report.fingerprints import make_fingerprint


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


def test_the_console_shows_the_control_beside_the_headline_and_what_to_know_of_it():
    fingerprint = make_fingerprint(
        untrained=True, samples=5, estimator="own", settings={"max_new_tokens": 64}
    )
    first, control, *_ = fingerprint_lines(fingerprint)
    assert first == f"Spearman           {fingerprint.spearman}"
    assert control == f"  untrained        {fingerprint.untrained['spearman']}"
    baseline = Correlation(0.9, 0.8, 0.95, 0.002, 150, 5)
    cut = fingerprint.responses.with_columns(finished=fingerprint.responses["id"] != "sample-0")
    lines = fingerprint_lines(replace(fingerprint, baseline=baseline, responses=cut))
    assert f"baseline           {baseline}: entropy with the logits' gradient, which costs nothing" in lines
    assert lines[-3].startswith("20.0 % of the responses were cut at 64 tokens (--max-new-tokens). ")
    assert lines[-2].startswith("Estimator own: an approximation.")
    assert lines[-1].startswith("The interval rests on 5 samples")


def test_an_exact_measurement_of_whole_responses_needs_no_warning():
    assert warnings(Correlation(0.1, 0.0, 0.2, 0.1, 900, 64), {"estimator": "exact"}, 0.0) == []
