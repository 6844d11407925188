"""What may be compared, what is refused, and that differences are those of `statistics`."""

import dataclasses
import json

import polars as pl
import pytest

from corrpo.errors import BadInputError
from corrpo.measurement.comparison import compare_fingerprints, measurement
from corrpo.measurement.labelled_fingerprints import Labelled, load_labelled, parse_label
from corrpo.statistics import TokenSeries, compare
from report.fingerprints import make_fingerprint, statistics_of

SMALL = {"samples": 5, "length": 12}


def labelled(label, tmp_path, **options):
    return Labelled(label, tmp_path / label, make_fingerprint(**{**SMALL, "model": label, **options}))


def series(tokens):
    return TokenSeries(
        tokens["entropy_bits"].to_numpy(),
        tokens["strength"].to_numpy(),
        tokens["sample"].to_list(),
        tokens["position"].to_numpy(),
    )


def with_tokens(measured, tokens):
    fingerprint = dataclasses.replace(measured.fingerprint, tokens=tokens, statistics=statistics_of(tokens))
    return dataclasses.replace(measured, fingerprint=fingerprint)


@pytest.mark.parametrize(
    "argument", ["", "base", "=dir", "base=", " =dir", "/base=dir", "qwen2/=dir", "a//b=d"]
)
def test_a_malformed_label_is_refused_and_named(argument):
    with pytest.raises(BadInputError, match="LABEL=DIR") as caught:
        parse_label(argument)
    assert repr(argument) in str(caught.value)


def test_a_folder_may_hold_an_equals_sign():
    assert str(parse_label("qwen2/base=runs/lr=1e-4")[1]) == "runs/lr=1e-4"


def test_sub_folders_are_found_and_rows_are_in_order_of_families_sets_and_types(tmp_path):
    for sample_set in ("maths", "chat"):
        make_fingerprint(name=sample_set, **SMALL).save(tmp_path / "many" / sample_set)
    (tmp_path / "many" / "figures").mkdir()
    make_fingerprint(name="maths", **SMALL).save(tmp_path / "one")
    result = load_labelled(
        [
            f"f/reasoning={tmp_path}/many",
            f"f/mine={tmp_path}/one",
            f"f/base={tmp_path}/one",
            f"g/base={tmp_path}/one",
        ]
    )
    assert [(fingerprint.family, fingerprint.sample_set, fingerprint.type) for fingerprint in result] == [
        ("f", "chat", "reasoning"),
        ("f", "maths", "base"),
        ("f", "maths", "reasoning"),
        ("f", "maths", "mine"),
        ("g", "maths", "base"),
    ]


def test_one_label_may_name_several_sample_sets_but_none_twice(tmp_path):
    for sample_set in ("maths", "chat"):
        make_fingerprint(name=sample_set, **SMALL).save(tmp_path / sample_set)
    assert len(load_labelled([f"base={tmp_path}/maths", f"base={tmp_path}/chat"])) == 2
    with pytest.raises(BadInputError, match="'base' has the sample set 'maths' twice"):
        load_labelled([f"base={tmp_path}/maths", f"base={tmp_path}"])


def test_folders_without_a_finished_fingerprint_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "set" / "begun").mkdir(parents=True)
    (tmp_path / "set" / "begun" / "settings.json").write_text("{}")
    for folder, message in (
        ("none", "not a folder"),
        ("empty", "no fingerprint.json"),
        ("set", "unfinished"),
    ):
        with pytest.raises(BadInputError, match=message) as caught:
            load_labelled([f"base={tmp_path}/{folder}"])
        assert str(tmp_path / folder) in str(caught.value)
    with pytest.raises(BadInputError, match="nothing to compare"):
        load_labelled([])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("estimator", "own"),
        ("kept", 8),
        ("norm", "spectral"),
        ("target", "logprob"),
        ("projections", ["q", "k"]),
        ("layers", [1]),
    ],
)
def test_fingerprints_measured_differently_are_refused_and_the_difference_is_named(tmp_path, name, value):
    a = labelled("base", tmp_path)
    b = labelled("reasoning", tmp_path, settings={name: value})
    with pytest.raises(BadInputError, match=name) as caught:
        compare_fingerprints([a, b])
    assert repr(value) in str(caught.value)
    assert str(a) in str(caught.value)
    assert str(b) in str(caught.value)


def test_all_layers_are_all_layers_however_they_were_named(tmp_path):
    a = labelled("f/base", tmp_path, layers=2, settings={"layers": [0, 1]})
    b = labelled("g/base", tmp_path, layers=3)
    assert compare_fingerprints([a, b]).measurement["layers"] == "all"
    one, other = (make_fingerprint(**SMALL, layers=3, settings={"layers": given}) for given in ([2], [-1]))
    assert measurement(one) == measurement(other)
    assert measurement(one)["layers"] == [2]
    last = make_fingerprint(**SMALL, settings={"estimator": "last", "layers": [1]})
    assert measurement(last)["layers"] == "last"


@pytest.mark.parametrize("method", ["spearman", "pearson", "partial_spearman"])
def test_a_paired_difference_is_that_of_statistics_compare(tmp_path, method):
    a, b = labelled("base", tmp_path, seed=1), labelled("reasoning", tmp_path, slope=0.4, seed=2)
    result = compare_fingerprints([a, b], method=method, resamples=50, seed=3)
    (actual,) = result.differences
    expected = compare(
        series(a.fingerprint.tokens), series(b.fingerprint.tokens), method=method, resamples=50, seed=3
    )
    assert (actual.a, actual.b) == ("base", "reasoning")
    assert actual.difference == expected
    if method == "spearman":
        rho = b.fingerprint.spearman.value - a.fingerprint.spearman.value
        assert actual.difference.value == pytest.approx(rho, abs=1e-12)


def test_samples_that_one_type_misses_are_dropped_and_counted(tmp_path):
    a, b = labelled("base", tmp_path, seed=1), labelled("reasoning", tmp_path, seed=2)
    kept = b.fingerprint.tokens.filter(pl.col("sample") != "sample-2")
    null = pl.when(pl.col("position") % 2 == 0).then(pl.col("strength")).alias("strength")
    kept = kept.with_columns(null)
    (result,) = compare_fingerprints([a, with_tokens(b, kept)], resamples=20).differences
    shared = a.fingerprint.tokens.filter(pl.col("sample") != "sample-2")
    expected = compare(series(shared), series(kept.drop_nulls("strength")), resamples=20)
    assert result.difference.n_dropped == 1
    assert result.difference.n_samples == 4
    assert result.difference.value == expected.value


def test_different_samples_give_no_difference_but_a_reason(tmp_path):
    a, b = labelled("base", tmp_path), labelled("reasoning", tmp_path)
    b.fingerprint.samples["digest"] = "sha256:other"
    (result,) = compare_fingerprints([a, b]).differences
    assert result.difference.value is None
    assert "digests differ" in result.difference.reason
    b.fingerprint.samples["digest"] = a.fingerprint.samples["digest"]
    renamed = b.fingerprint.tokens.with_columns(sample=pl.lit("other-") + pl.col("sample"))
    (result,) = compare_fingerprints([a, with_tokens(b, renamed)]).differences
    assert result.difference.value is None
    assert result.difference.n_dropped == 10
    assert result.difference.reason == "no sample was measured in both"


def test_an_undefined_correlation_gives_no_difference_and_names_the_type(tmp_path):
    a, b = labelled("base", tmp_path), labelled("safety", tmp_path, constant=True)
    result = compare_fingerprints([a, b])
    (actual,) = result.differences
    assert actual.difference.value is None
    assert actual.difference.reason == "safety: entropy is constant over the 60 tokens"
    assert result.rows[1].spearman.value is None


def test_types_are_paired_within_a_family_and_a_sample_set(tmp_path):
    names = [("f/base", "x"), ("f/safety", "x"), ("f/reasoning", "x"), ("f/base", "y"), ("g/base", "x")]
    result = compare_fingerprints(
        [labelled(label, tmp_path, name=name) for label, name in names], resamples=0
    )
    assert [(d.family, d.sample_set, d.a, d.b) for d in result.differences] == [
        ("f", "x", "base", "safety"),
        ("f", "x", "base", "reasoning"),
        ("f", "x", "safety", "reasoning"),
    ]


def test_what_else_differs_is_noted(tmp_path):
    a, b = labelled("base", tmp_path), labelled("reasoning", tmp_path, settings={"temperature": 0.7})
    b.fingerprint.model["dtype"] = "bfloat16"
    b.fingerprint.model["digest"] = a.fingerprint.model["digest"]
    notes = "\n".join(compare_fingerprints([a, b], resamples=0).notes)
    assert "dtype differs: 'float32' in base on reasoning; 'bfloat16' in reasoning on reasoning" in notes
    assert "setting temperature differs" in notes
    assert "base and reasoning on reasoning are the same model" in notes
    (few,) = compare_fingerprints([a], resamples=0).notes
    assert few.startswith("fewer than 10 samples, so do not rely on the intervals: base on reasoning")


def test_rows_hold_what_the_fingerprints_hold_and_json_takes_them(tmp_path):
    measured = labelled("qwen2/base", tmp_path, untrained=True)
    result = compare_fingerprints([measured], resamples=0)
    (row,) = result.rows
    tokens = measured.fingerprint.tokens
    assert row.mean_entropy_bits == pytest.approx(tokens["entropy_bits"].mean())
    assert row.mean_strength == pytest.approx(tokens["strength"].mean())
    assert (row.n_tokens, row.n_samples, row.mean_response_tokens) == (60, 5, 12)
    plain = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert plain["rows"][0]["spearman"] == measured.fingerprint.spearman.as_dict()
    assert plain["rows"][0]["untrained"]["pearson"] == measured.fingerprint.untrained["pearson"].as_dict()
    assert plain["rows"][0]["family"] == "qwen2"


def test_a_fingerprint_without_measured_tokens_has_no_means(tmp_path):
    measured = labelled("base", tmp_path)
    empty = dataclasses.replace(measured.fingerprint, tokens=measured.fingerprint.tokens.clear())
    (row,) = compare_fingerprints([dataclasses.replace(measured, fingerprint=empty)], resamples=0).rows
    assert (row.mean_entropy_bits, row.mean_strength, row.mean_response_tokens) == (None, None, None)
