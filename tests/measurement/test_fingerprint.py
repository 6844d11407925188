"""What a fingerprint shows of itself, and when two are equal."""

from dataclasses import replace

import polars as pl
import pytest
from matplotlib.figure import Figure

from corrpo import Fingerprint
from report.fingerprints import make_fingerprint


@pytest.fixture(scope="module")
def fingerprint():
    return make_fingerprint(untrained=True, name="sums")


def test_print_shows_model_samples_settings_and_every_correlation(fingerprint):
    title, measured, counted, *rows = str(fingerprint).splitlines()
    assert title == "Fingerprint of tiny on sums"
    assert measured == (
        "  nuclear norms of the logit's gradient, estimator exact, projections q k v o, all layers"
    )
    assert counted == (
        "  360 of 360 response tokens measured; of 13 samples 1 skipped, 0 with a response that was cut"
    )
    assert rows[0].split("  ")[1] == "Spearman"
    assert str(fingerprint.spearman) in rows[0]
    assert len(rows) == 6
    assert str(fingerprint.untrained["spearman"]) in rows[-1]


def test_repr_is_one_line(fingerprint):
    assert repr(fingerprint) == f"<Fingerprint of tiny on sums: {fingerprint.spearman}>"


def test_a_notebook_shows_a_table_in_which_names_are_escaped():
    html = make_fingerprint(model="<script>alert(1)</script>", constant=True)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "entropy is constant" in html
    assert "http" not in html
    assert html.count("<tr>") == 6


def test_equal_if_all_that_they_hold_is(fingerprint, tmp_path):
    assert fingerprint == make_fingerprint(untrained=True, name="sums")
    assert fingerprint != make_fingerprint(untrained=True, name="products")
    assert fingerprint != make_fingerprint(name="sums")
    assert fingerprint != "a fingerprint"
    other_tokens = (
        fingerprint.tokens.with_columns(pl.col("strength") * 2),
        fingerprint.tokens[:-1],
        fingerprint.tokens.rename({"strength": "g"}),
        fingerprint.tokens.with_columns(pl.col("token_id").cast(pl.String)),
        fingerprint.tokens.select(reversed(fingerprint.tokens.columns)),
    )
    for tokens in other_tokens:
        assert fingerprint != replace(fingerprint, tokens=tokens)
    with pytest.raises(TypeError, match="unhashable"):
        hash(fingerprint)
    fingerprint.save(tmp_path)
    assert Fingerprint.load(tmp_path) == fingerprint


@pytest.mark.parametrize("shape", [{}, {"constant": True}, {"samples": 1, "length": 2}, {"samples": 90}])
def test_plot_draws_every_token_up_to_a_limit(shape, tmp_path):
    drawn = make_fingerprint(**shape)
    figure = drawn.plot()
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert len(axes.collections[0].get_offsets()) == min(2000, drawn.tokens.height)
    assert "entropy" in axes.get_xlabel()
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_plot_of_a_fingerprint_without_measured_tokens_is_empty(fingerprint):
    empty = replace(fingerprint, tokens=fingerprint.tokens.with_columns(strength=pl.lit(None, pl.Float64)))
    assert len(empty.plot().axes[0].collections[0].get_offsets()) == 0
