"""The reports hold the numbers of the JSON, nothing that runs, and nothing that is fetched."""

import dataclasses
from html.parser import HTMLParser
from xml.etree import ElementTree

import polars as pl
import pytest

from corrpo.errors import BadInputError
from corrpo.measurement.comparison import compare_fingerprints
from corrpo.measurement.labelled_fingerprints import Labelled
from corrpo.report import write_comparison_report, write_measure_report
from corrpo.report.layer_correlations import layer_table, norms_array
from corrpo.report.notable_tokens import AFTER, BEFORE, LISTED, high_entropy_low_gradient, highest_entropy
from corrpo.report.pages.comparison import comparison_page
from corrpo.report.pages.fingerprint import measure_page
from corrpo.statistics import Correlation, spearman
from corrpo.strength.estimators.fidelity import agreement
from report.fingerprints import make_fingerprint, statistics_of

SMALL = {"samples": 5, "length": 20}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x00\x1b[31m\u202e\u2028{{ 7 * 7 }}"
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags, attributes, data values and text of a page; fails on a tag that is not closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.values, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.values += [float(value) for name, value in attrs if tag == "data" and name == "value"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page_of(path):
    return Page(path.read_bytes().decode("utf-8"))


def assert_inert(page):
    assert not {"script", "img", "iframe", "object", "embed", "link", "form", "a"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:image/png;base64,"))


@pytest.fixture(scope="module")
def fingerprint():
    return make_fingerprint(**SMALL, untrained=True, settings={"confidence": 0.95})


def labelled(label, tmp_path, **options):
    return Labelled(label, tmp_path / label, make_fingerprint(**{**SMALL, "model": label, **options}))


def numbers_of(statistics):
    return [
        value
        for correlation in statistics.values()
        for value in (
            correlation.value,
            correlation.low,
            correlation.high,
            correlation.p,
            correlation.n_tokens,
        )
        if value is not None
    ]


def test_measure_report_holds_the_numbers_of_the_fingerprint(tmp_path, fingerprint):
    write_measure_report(fingerprint, tmp_path / "report.html")
    page = page_of(tmp_path / "report.html")
    assert set(numbers_of(fingerprint.statistics)) <= set(page.values)
    assert {c.value for c in fingerprint.untrained.values()} <= set(page.values)
    assert f"ρ = {fingerprint.spearman.value:.2f}".replace("-", "−") in page.text
    assert_inert(page)


def test_measure_report_says_what_made_the_numbers(fingerprint):
    page = Page(measure_page(fingerprint))
    for words in (
        "95 % interval",
        "Association, not cause",
        "sign is reported as it was found",
        "sample-x",
        "the response is empty",
        "tokens.parquet",
        "fingerprint.json",
        fingerprint.samples["digest"],
        fingerprint.model["digest"],
        "transformers",
        "5 of 6 samples measured",
    ):
        assert words in page.text


@pytest.mark.parametrize(
    ("estimator", "tag", "note"),
    [
        (
            "own",
            "own-position part",
            f"only q and o of the last layer are exact. {agreement('own', {})}",
        ),
        ("last", "last layer alone", f"says nothing about the layers below it. {agreement('last', {})}"),
        ("exact", "exact", "up to floating-point rounding"),
    ],
)
def test_every_report_says_how_exact_its_estimator_is(tmp_path, estimator, tag, note):
    measured = labelled("base", tmp_path, estimator=estimator)
    pages = [
        measure_page(measured.fingerprint),
        comparison_page(compare_fingerprints([measured], resamples=0), [measured.fingerprint]),
    ]
    for page in map(Page, pages):
        assert page.text.count(tag) >= 4  # title, figures, captions
        assert note in page.text


def test_the_baseline_is_a_row_of_every_table_and_a_dash_in_older_folders(tmp_path):
    older = labelled("base", tmp_path)
    baseline = Correlation(0.123456, 0.01, 0.23, 0.04, 99, 5)
    newer = dataclasses.replace(older, fingerprint=dataclasses.replace(older.fingerprint, baseline=baseline))
    for measured, shown in ((older, "—"), (newer, "0.12")):
        assert f"with the logits' gradient {shown}" in Page(measure_page(measured.fingerprint)).text
        comparison = compare_fingerprints([measured], resamples=0)
        page = Page(comparison_page(comparison, [measured.fingerprint]))
        assert (0.123456 in page.values) == (measured is newer)
        assert "a strength whose correlation goes no further than this has found nothing new" in page.text


def test_the_share_of_responses_that_were_cut_is_told(tmp_path):
    measured = labelled("base", tmp_path, settings={"max_new_tokens": 512})
    assert "were cut at" not in Page(measure_page(measured.fingerprint)).text
    finished = pl.Series("finished", [False, True, True, True, True])
    responses = measured.fingerprint.responses.with_columns(finished)
    cut = dataclasses.replace(
        measured, fingerprint=dataclasses.replace(measured.fingerprint, responses=responses)
    )
    text = Page(measure_page(cut.fingerprint)).text
    assert (
        "20.0 % of the responses were cut at 512 tokens (--max-new-tokens). The correlations are of" in text
    )
    (row,) = compare_fingerprints([cut], resamples=0).rows
    assert row.cut == 0.2


def test_a_report_says_what_its_rho_means_and_what_it_does_not(fingerprint):
    measured = dataclasses.replace(
        fingerprint,
        statistics=fingerprint.statistics | {"spearman": Correlation(-0.4, -0.5, -0.3, 0.01, 9, 5)},
    )
    text = Page(measure_page(measured)).text
    assert "the one with the higher entropy has the lower strength in about 64 % of pairs." in text
    assert "The two panels have axes of their own. tokens.parquet" in text
    for words in (
        "What it does not mean. Not that the model reasons",
        "What to do next. See whether position",
    ):
        assert words in text


def test_a_subsampled_measurement_says_so():
    fingerprint = make_fingerprint(**SMALL)
    fingerprint.samples.update(measured_tokens=50, subsampling={"standard_error": 0.0321})
    text = Page(measure_page(fingerprint)).text
    assert (
        "50 of 100 response tokens were measured, chosen at random. This adds a standard error of 0.032"
        in text
    )


def test_a_comparison_states_subsampling_in_one_paragraph(tmp_path):
    measured = labelled("base", tmp_path)
    measured.fingerprint.samples.update(measured_tokens=50, subsampling={"standard_error": 0.0321})
    comparison = compare_fingerprints([measured], resamples=0)
    text = Page(comparison_page(comparison, [measured.fingerprint])).text
    assert "base on reasoning 50 of 100 (standard error 0.032)" in text


def test_an_undefined_correlation_is_a_dash_and_a_reason_never_zero(tmp_path):
    measured = labelled("base", tmp_path, constant=True)
    page = Page(measure_page(measured.fingerprint))
    assert "Spearman ρ = — —" in page.text
    assert "It is not defined: entropy is constant over the 100 tokens." in page.text
    assert "Not defined for all layers and projections: entropy is constant over the 100 tokens." in page.text
    assert 0.0 not in page.values[:5]
    comparison = compare_fingerprints([measured], resamples=0)
    text = Page(comparison_page(comparison, [measured.fingerprint])).text
    assert "base on reasoning : entropy is constant over the 100 tokens" in text


def test_comparison_report_holds_the_numbers_of_the_json(tmp_path):
    rows = [
        labelled("qwen2/base", tmp_path, untrained=True),
        labelled("qwen2/reasoning", tmp_path, slope=0.3, seed=1),
        labelled("llama/base", tmp_path, slope=0.1, seed=2, settings={"temperature": 0.5}),
    ]
    comparison = compare_fingerprints(rows, resamples=20)
    path = tmp_path / "comparison.html"
    write_comparison_report(comparison, [row.fingerprint for row in rows], path)
    page, plain = page_of(path), comparison.as_dict()
    for row in plain["rows"]:
        expected = [row["spearman"][name] for name in ("value", "low", "high", "p", "n_tokens", "n_samples")]
        expected += [row[name]["value"] for name in ("pearson", "spearman_by_token", "position_partial")]
        expected += [row["mean_entropy_bits"], row["mean_strength"]]
        assert set(expected) <= set(page.values)
        assert row["folder"] in page.text
        assert row["samples_digest"] in page.text
    for difference in plain["differences"]:
        assert {difference["difference"][name] for name in ("value", "low", "high", "p")} <= set(page.values)
    assert "setting temperature differs" in page.text
    assert_inert(page)


def test_inline_figures_are_xml_with_ids_of_their_own(tmp_path):
    rows = [labelled("f/base", tmp_path), labelled("g/base", tmp_path)]
    html = comparison_page(compare_fingerprints(rows, resamples=0), [row.fingerprint for row in rows])
    figures = [part[: part.index("</svg>")] + "</svg>" for part in html.split("<svg")[1:]]
    assert len(figures) == 3
    roots = [ElementTree.fromstring("<svg" + figure) for figure in figures]
    ids = [element.get("id") for root in roots for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_hostile_strings_stay_text(tmp_path):
    fingerprint = make_fingerprint(
        **SMALL, name=HOSTILE, model=HOSTILE + "\ud800", settings={HOSTILE: HOSTILE}
    )
    fingerprint.samples["skipped"] = [{"sample": HOSTILE, "reason": HOSTILE}]
    tokens = fingerprint.tokens.with_columns(token=pl.lit(HOSTILE), sample=pl.lit(HOSTILE) + pl.col("sample"))
    fingerprint = dataclasses.replace(fingerprint, tokens=tokens, statistics=statistics_of(tokens))
    measured = Labelled(f"{HOSTILE}/{HOSTILE}\ud800", tmp_path, fingerprint)
    write_measure_report(fingerprint, tmp_path / "a.html")
    write_comparison_report(compare_fingerprints([measured], resamples=0), [fingerprint], tmp_path / "b.html")
    for name in ("a.html", "b.html"):
        content = (tmp_path / name).read_bytes()
        page = page_of(tmp_path / name)
        assert_inert(page)
        assert "alert(1)" in page.text
        assert "{{ 7 * 7 }}" in page.text
        assert b"\x00" not in content
        assert b"\x1b" not in content
        assert "\u202e" not in content.decode("utf-8")
        assert r"\x00\x1b[31m\u202e\u2028" in page.text


def test_fingerprints_of_another_comparison_are_refused(tmp_path):
    a, b = labelled("base", tmp_path), labelled("reasoning", tmp_path, slope=0.4)
    comparison = compare_fingerprints([a, b], resamples=0)
    with pytest.raises(BadInputError, match="in order"):
        comparison_page(comparison, [b.fingerprint, a.fingerprint])


def test_a_fingerprint_without_tokens_has_a_report():
    fingerprint = make_fingerprint(constant=True, **SMALL)
    empty = dataclasses.replace(fingerprint, tokens=fingerprint.tokens.clear())
    assert "No token was measured." in Page(measure_page(empty)).text


def test_layer_table_is_spearman_of_each_norm():
    fingerprint = make_fingerprint(**SMALL, layers=3)
    table = layer_table(fingerprint)
    norms = norms_array(fingerprint.tokens["norms"])
    assert norms.tolist() == fingerprint.tokens["norms"].to_list()
    assert table.projections == ["q", "k", "v", "o"]
    for i, (layer, cells) in enumerate(table.rows):
        assert layer == i
        for j, cell in enumerate(cells):
            assert cell.value == spearman(fingerprint.tokens["entropy_bits"].to_numpy(), norms[:, i, j])


def test_layers_are_called_by_their_numbers_in_the_model():
    chosen = make_fingerprint(**SMALL, layers=2, settings={"layers": [0, -1]})
    chosen.model["attention_layers"] = 6
    assert [layer for layer, _ in layer_table(chosen).rows] == [0, 5]
    last = make_fingerprint(**SMALL, layers=1, estimator="last")
    last.model["attention_layers"] = 6
    assert [layer for layer, _ in layer_table(last).rows] == [5]


def test_excerpts_are_the_highest_and_the_high_and_low(fingerprint):
    tokens = fingerprint.tokens
    first = highest_entropy(fingerprint)
    assert [excerpt.entropy_bits for excerpt in first] == tokens["entropy_bits"].sort(descending=True)[
        :LISTED
    ].to_list()
    second = high_entropy_low_gradient(fingerprint)
    assert all(excerpt.entropy_bits >= tokens["entropy_bits"].quantile(0.9) for excerpt in second)
    assert [excerpt.strength for excerpt in second] == sorted(excerpt.strength for excerpt in second)
    place = tokens.filter(pl.col("sample") == first[0].sample)["token"].to_list()
    position = first[0].position
    assert "".join(place[:position])[-BEFORE:] == first[0].before
    assert "".join(place[position + 1 :])[:AFTER] == first[0].after
