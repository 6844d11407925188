"""The figures are valid SVG, the same for the same numbers, and show what they are given."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from corrpo.errors import BadInputError
from corrpo.measurement.entropy_strength_figure import (
    MAX_POINTS,
    power_of_ten,
    running_quartiles,
    scale_strength,
)
from corrpo.report.figures.rho_by_model_type import TypeValue, types_figure
from corrpo.report.figures.token_scatter import Panel, scatter_figure
from corrpo.report.plotting.figure_style import TYPE_COLOURS, type_colours
from corrpo.statistics import Correlation

HOSTILE = "$x^{$<script>\x00\u202e&\ud800 _"
DEFINED = Correlation(-0.42, -0.51, -0.33, 0.001, 1234, 64)
UNDEFINED = Correlation(None, None, None, None, 3, 1, "entropy is constant")


def panel(n=100, correlation=DEFINED, title="base", scale=1.0):
    rng = np.random.default_rng(0)
    return Panel(title, rng.random(n), np.exp(scale * rng.normal(size=n)), correlation, TYPE_COLOURS["base"])


def scatter_svg(*grid, **options):
    return scatter_figure(*grid, **options).svg()


def types_svg(*values, **options):
    return types_figure(*values, **options).svg()


def texts(svg):
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_scatter_says_rho_and_how_many_tokens_it_draws():
    shown = texts(scatter_svg("a", [[panel(100), panel(5000)]], strength_label="strength"))
    assert shown.count("ρ = −0.42 [−0.51, −0.33]") == 2
    assert "100 tokens" in shown
    assert "2,000 of 5,000 tokens" in shown
    assert "token entropy (bits)" in shown


def test_scatter_is_logarithmic_only_where_strength_spans_decades_or_few_tokens_would_squash_the_others():
    spans = texts(scatter_svg("a", [[panel(scale=2.0)]], strength_label="s"))
    narrow = panel(1000, scale=0.1)
    does_not = texts(scatter_svg("a", [[narrow]], strength_label="s"))
    one_is_far = replace(narrow, strength=np.r_[narrow.strength[1:], 12.0])
    squashed = texts(scatter_svg("a", [[one_is_far]], strength_label="s"))
    assert {"0.1", "1", "10"} <= set(spans)
    assert "10" not in does_not
    assert {"1", "2", "5", "10"} <= set(squashed)


@pytest.mark.parametrize("strength", [np.full(200, 3.0), np.r_[np.linspace(2.1, 2.2, 199), 4.9]])
def test_scatter_is_linear_where_no_power_of_ten_is_spanned(strength):
    axes = Figure().subplots()
    scale_strength(axes, [strength])
    assert axes.get_yscale() == "linear"


def test_entropy_is_unfolded_where_tokens_crowd_near_zero():
    crowded = panel()
    entropy = np.concatenate([np.zeros(40), np.full(30, 0.003), np.linspace(0.01, 4, 30)])
    crowded = Panel("a", entropy, crowded.strength, DEFINED, crowded.colour)
    shown = texts(scatter_svg("a", [[crowded]], strength_label="s"))
    assert "token entropy (bits, logarithmic above 0.01)" in shown
    assert {"0", "0.01", "0.1", "1"} <= set(shown)
    apart = texts(scatter_svg("a", [[crowded, panel()]], strength_label="s", shared=False))
    assert {"token entropy (bits)", "token entropy (bits, logarithmic above 0.01)"} <= set(apart)


@pytest.mark.parametrize("n", [0, 1, 3, 60])
def test_scatter_of_few_tokens_and_no_correlation(n):
    shown = texts(scatter_svg("a", [[panel(n, UNDEFINED), None]], strength_label="s"))
    assert "ρ = — (not defined)" in shown


def test_the_same_numbers_give_the_same_bytes_without_a_date():
    first, second = (scatter_svg("a", [[panel(3000)]], strength_label="s") for _ in range(2))
    assert first == second
    assert "dc:date" not in first


def test_ids_differ_between_figures():
    def ids(name):
        root = ElementTree.fromstring(scatter_svg(name, [[panel()]], strength_label="s"))
        return {element.get("id") for element in root.iter() if element.get("id")}

    assert ids("a")
    assert not ids("a") & ids("b")


def test_running_median_goes_through_the_middle_and_keeps_ties_together():
    entropy = np.concatenate([np.zeros(500), np.arange(1, 501)])
    middle, low, median, high = running_quartiles(entropy, np.arange(1000.0))
    assert middle[0] == 0
    assert median[0] == pytest.approx(249.5)
    assert (np.diff(middle) > 0).all()
    assert (low <= median).all()
    assert (median <= high).all()


def test_types_shows_families_sets_and_what_is_not_defined():
    values = [
        TypeValue("qwen2", "base", "maths", DEFINED, Correlation(0.1, 0.0, 0.2, 0.1, 9, 3)),
        TypeValue("qwen2", "safety", "maths", UNDEFINED),
        TypeValue("llama", "mine", "chat", Correlation(0.3, None, None, None, 9, 1, "one sample")),
    ]
    shown = texts(types_svg("t", values, value_label="rho"))
    expected = {"qwen2", "llama", "maths", "chat", "base", "safety", "mine", "the same, untrained"}
    assert expected <= set(shown)
    assert shown.count("safety: not defined") == 1


def test_hostile_names_are_inert_text():
    values = [TypeValue(HOSTILE, HOSTILE, HOSTILE, DEFINED)]
    for svg in (
        types_svg("t", values, value_label="rho"),
        scatter_svg("s", [[panel(title=HOSTILE)]], strength_label="s", row_titles=[HOSTILE]),
    ):
        assert "<script" not in svg
        svg.encode("utf-8")
        assert any("$x^{$<script>" in text for text in texts(svg))


def test_colours_of_the_three_types_never_change():
    assert type_colours(["mine", "reasoning", "base"])["base"] == type_colours(["base"])["base"]
    assert len(set(type_colours([str(i) for i in range(6)]).values())) == 6


@pytest.mark.parametrize(
    ("value", "text"), [(100.0, "100"), (0.01, "0.01"), (1e5, "10⁵"), (2e-6, "2·10⁻⁶"), (1e3, "1,000")]
)
def test_tick_labels(value, text):
    assert power_of_ten(value) == text


def test_a_drawing_is_written_in_every_format_with_the_numbers_behind_it(tmp_path):
    places = pl.DataFrame({"sample": ["a"] * 5000, "position": range(5000)})
    crowded = replace(panel(5000), places=places, source="runs/base")
    drawing = scatter_figure("figure 1", [[crowded]], strength_label="s")
    for suffix, begins in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        first, second = (tmp_path / f"{name}{suffix}" for name in "ab")
        drawing.write(first)
        scatter_figure("figure 1", [[crowded]], strength_label="s").write(second)
        assert first.read_bytes().startswith(begins)
        assert first.read_bytes() == second.read_bytes()
    drawing.write(tmp_path / "a.parquet")
    points = pl.read_parquet(tmp_path / "a.parquet")
    assert points.height == MAX_POINTS
    assert set(points["source"]) == {"runs/base"}
    row = points.row(7, named=True)
    assert row["strength"] == crowded.strength[row["position"]]
    with pytest.raises(BadInputError, match=r"\.svg, \.pdf, \.png or \.parquet"):
        drawing.write(tmp_path / "a.gif")


def test_the_numbers_of_figure_2_have_their_controls_beside_them():
    value = TypeValue("qwen2", "base", "maths", DEFINED, untrained=UNDEFINED, source="runs/base")
    rows = types_figure("t", [value], value_label="rho").data.to_dicts()
    assert [(row["untrained"], row["value"], row["low"]) for row in rows] == [
        (False, -0.42, -0.51),
        (True, None, None),
    ]


def test_types_say_how_many_samples_and_what_the_bars_are():
    values = [
        TypeValue("f", name, "maths", replace(DEFINED, n_samples=n)) for name, n in (("base", 60), ("rl", 64))
    ]
    shown = texts(types_svg("t", *[values], value_label="rho"))
    assert "n = 60–64" in " ".join(shown)
    assert "sample set (n samples); bars: intervals over samples" in shown
